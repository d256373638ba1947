#include "coordinator/core/reservation_desk.h"

#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ReservationDeskTest : public CoreTest {
 protected:
  absl::StatusOr<v1::Reservation> Reserve(const std::string& holder, const std::vector<std::string>& device_ids,
                                          std::chrono::nanoseconds from, std::chrono::nanoseconds to,
                                          std::uint32_t count = 0) {
    v1::CreateReservationRequest request;
    request.set_holder(holder);
    for (const std::string& device_id : device_ids) request.mutable_devices()->add_device_ids(device_id);
    request.mutable_devices()->set_count(count);
    if (from > seconds(0)) *request.mutable_start_time() = base::ToProto(now_.wall + from);
    *request.mutable_end_time() = base::ToProto(now_.wall + to);
    absl::StatusOr<v1::Reservation> reservation =
        core_->CreateReservation(now_, "v-" + std::to_string(++reservations_), request, &actions_);
    Settle();
    return reservation;
  }
  absl::StatusOr<v1::Reservation> End(const std::string& reservation_id, const std::string& requester = "",
                                      bool administrator = false) {
    absl::StatusOr<v1::Reservation> ended =
        core_->EndReservation(now_, reservation_id, requester, administrator, &actions_);
    Settle();
    return ended;
  }
  // Time passes with signs of life.
  void Live(SessionId session, std::chrono::nanoseconds time) {
    for (; time > seconds(0); time -= seconds(10)) {
      AdvanceTicking(std::min<std::chrono::nanoseconds>(time, seconds(10)));
      const std::string run_id = Device("a").active_run_id();
      Heartbeat(session, run_id, run_id.empty() ? 0 : 1);
    }
  }
  int reservations_ = 0;
};

TEST_F(ReservationDeskTest, OthersWaitUntilItIsOverAndWhatGoesOnIsNotDisturbed) {
  SessionId session = Connect("a");
  v1::JobSpec spec = Spec();
  spec.set_repetitions(2);
  ASSERT_TRUE(Submit(spec, "", "ada").ok());
  Started(session, "j-1.1");
  ASSERT_TRUE(Reserve("bob", {"a"}, minutes(10), minutes(30)).ok());
  EXPECT_EQ(Device("a").reserved_for(), "");
  Live(session, minutes(11));
  EXPECT_EQ(Device("a").reserved_for(), "bob");
  EXPECT_EQ(Device("a").active_run_id(), "j-1.1");
  EXPECT_THAT(WaitsFor("j-1"),
              ElementsAre("1 DEVICE_RESERVED: device a is reserved for bob until 2023-11-14 22:43:20Z"));
  Finished(session, "j-1.1");
  EXPECT_EQ(Device("a").active_run_id(), "");
  ASSERT_TRUE(Submit(Spec(), "", "bob").ok());
  EXPECT_EQ(Device("a").active_run_id(), "j-2.1");
  Started(session, "j-2.1");
  Finished(session, "j-2.1");
  // Also over a restart.
  Restart();
  session = Connect("a");
  EXPECT_THAT(Said(session), ElementsAre("welcome"));
  Live(session, minutes(18));
  EXPECT_EQ(Device("a").active_run_id(), "");
  Live(session, minutes(2));
  EXPECT_EQ(Device("a").reserved_for(), "");
  EXPECT_EQ(Device("a").active_run_id(), "j-1.2");
  EXPECT_THAT(kept_.reservations, IsEmpty());
}

TEST_F(ReservationDeskTest, ConflictsAreRefused) {
  Connect("a");
  Connect("b");
  ASSERT_TRUE(Reserve("bob", {"a"}, minutes(10), minutes(30)).ok());
  const absl::Status conflict = Reserve("ada", {"a"}, minutes(29), minutes(40)).status();
  EXPECT_EQ(conflict.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(conflict.message()), HasSubstr("device a is reserved for bob from 2023-11-14 22:23:20Z"));
  EXPECT_TRUE(Reserve("ada", {"a"}, minutes(30), minutes(40)).ok());
  EXPECT_TRUE(Reserve("bob", {"a"}, minutes(20), minutes(30)).ok());  // his own
  // Of any devices, those that are free are taken.
  EXPECT_THAT(Reserve("eve", {}, minutes(0), minutes(60), 1)->device_ids(), ElementsAre("b"));
  const absl::Status few = Reserve("ivy", {}, minutes(0), minutes(60), 1).status();
  EXPECT_EQ(few.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(few.message()), HasSubstr("1 devices are wanted; 2 match, of which 0 are not reserved"));
  EXPECT_EQ(Reserve("ivy", {"c"}, minutes(0), minutes(60)).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(core_->ListReservations("").size(), 4U);
  EXPECT_EQ(core_->ListReservations("bob").size(), 2U);
}

TEST_F(ReservationDeskTest, NonsenseIsRefused) {
  Connect("a");
  for (const absl::Status& status :
       {Reserve("", {"a"}, minutes(0), minutes(1)).status(), Reserve("bob", {"a"}, minutes(0), -minutes(1)).status(),
        Reserve("bob", {"a"}, minutes(2), minutes(1)).status(), Reserve("bob", {"a"}, minutes(0), hours(721)).status(),
        Reserve(std::string(129, 'x'), {"a"}, minutes(0), minutes(1)).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  }
  EXPECT_THAT(kept_.reservations, IsEmpty());
}

TEST_F(ReservationDeskTest, WhoeverWantsSomeMoreGetsOthers) {
  Connect("a");
  Connect("b");
  Connect("c");
  EXPECT_THAT(Reserve("ada", {}, seconds(0), hours(1), 1)->device_ids(), ElementsAre("a"));
  EXPECT_THAT(Reserve("ada", {}, seconds(0), hours(1), 1)->device_ids(), ElementsAre("b"));
  EXPECT_THAT(Reserve("ada", {}, hours(2), hours(3), 1)->device_ids(), ElementsAre("a")) << "another time";
  // Where there are no others, those that he has.
  EXPECT_THAT(Reserve("ada", {}, seconds(0), hours(1), 2)->device_ids(), ElementsAre("a", "c"));
}

TEST_F(ReservationDeskTest, ItDoesNotBeginInThePast) {
  Connect("a");
  v1::CreateReservationRequest request;
  request.set_holder("ada");
  request.mutable_devices()->add_device_ids("a");
  *request.mutable_start_time() = base::ToProto(now_.wall - hours(2));
  *request.mutable_end_time() = base::ToProto(now_.wall + hours(2));
  const auto refused = core_->CreateReservation(now_, "v-1", request, &actions_);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("start_time: 2023-11-14 20:13:20Z is over"));
  *request.mutable_start_time() = base::ToProto(now_.wall - minutes(1));
  EXPECT_TRUE(core_->CreateReservation(now_, "v-1", request, &actions_).ok()) << "clocks differ";
}

TEST_F(ReservationDeskTest, ItsHolderOrAnAdministratorEndsItEarlier) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Reserve("bob", {"a"}, minutes(0), minutes(30)).ok());
  EXPECT_EQ(Device("a").reserved_for(), "bob");
  ASSERT_TRUE(Submit(Spec(), "", "ada").ok());
  EXPECT_THAT(Said(session), ElementsAre("welcome"));
  EXPECT_EQ(End("v-1", "ada").status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(End("v-7", "ada").status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(End("v-1", "bob").ok());
  EXPECT_EQ(Device("a").reserved_for(), "");
  EXPECT_THAT(Said(session), ElementsAre("assign j-1.1/1"));
  ASSERT_TRUE(Reserve("bob", {"a"}, minutes(10), minutes(30)).ok());
  EXPECT_TRUE(End("v-2", "root", true).ok());
}

TEST_F(ReservationDeskTest, AClockThatIsSetIsNoticedWithinAMinute) {
  SessionId session = Connect("a");
  ASSERT_TRUE(Reserve("bob", {"a"}, minutes(0), hours(5)).ok());
  now_.wall += hours(6);
  Live(session, minutes(1));
  EXPECT_EQ(Device("a").reserved_for(), "");
}

TEST_F(ReservationDeskTest, AReservedDeviceIsNotForgotten) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Reserve("bob", {"a"}, minutes(0), hours(5)).ok());
  Disconnect(session);
  EXPECT_EQ(core_->RemoveDevice(now_, "a", &actions_).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace ballast::core
