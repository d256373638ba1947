#include <memory>
#include <string>

#include "ballast/v1/planning_service.grpc.pb.h"
#include "common/rpc/channel.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"

#include "grpcpp/grpcpp.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;

// Refuses with `status`, where that is none; else makes every reservation.
class FakeReservations final : public v1::ReservationService::Service {
 public:
  explicit FakeReservations(const std::filesystem::path& directory)
      : address_("unix:" + (directory / "r.sock").string()) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  [[nodiscard]] const std::string& address() const { return address_; }

  grpc::Status CreateReservation(grpc::ServerContext*, const v1::CreateReservationRequest* request,
                                 v1::Reservation* response) override {
    created = *request;
    if (!status.ok()) return rpc::ToGrpc(status);
    response->set_reservation_id("v-1");
    return grpc::Status::OK;
  }
  grpc::Status EndReservation(grpc::ServerContext*, const v1::EndReservationRequest*, v1::Reservation*) override {
    return rpc::ToGrpc(status);
  }

  absl::Status status;
  v1::CreateReservationRequest created;

 private:
  const std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

class ReservationCommandsTest : public CommandTest {
 protected:
  ReservationCommandsTest() { variables_["BALLAST_COORDINATOR"] = fake_.address(); }

  // What is advised after the coordinator has refused with `status`.
  std::string StepAfter(const absl::Status& status, const std::vector<std::string>& arguments) {
    fake_.status = status;
    EXPECT_NE(Run(arguments), 0);
    const std::string text = err();
    return text.substr(text.find("  try: "));
  }

  FakeReservations fake_{directory_.path()};
};

TEST_F(ReservationCommandsTest, TimesAreCountedFromNowOn) {
  ASSERT_EQ(Run({"reservations", "create", "--all", "--from", "2h", "--for", "1h"}), 0) << err();
  EXPECT_EQ(fake_.created.start_time().seconds(), 1'740'837'600 + 7'200);
  EXPECT_EQ(fake_.created.end_time().seconds(), 1'740'837'600 + 10'800);
  ASSERT_EQ(Run({"reservations", "create", "--on", "rack", "--until-time", "30m"}), 0) << err();
  EXPECT_EQ(fake_.created.devices().expression(), "rack");
  EXPECT_FALSE(fake_.created.has_start_time());
  EXPECT_EQ(fake_.created.end_time().seconds(), 1'740'837'600 + 1'800);
}

TEST_F(ReservationCommandsTest, TheNextStepIsAboutWhatWasRefused) {
  const std::vector<std::string> create = {"reservations", "create", "--on", "rack in (a", "--for", "2h"};
  EXPECT_THAT(StepAfter(absl::InvalidArgumentError("devices.expression 'rack in (a': at 11: expected ',' or ')', not "
                                                   "the end"),
                        create),
              HasSubstr("mend --on"));
  EXPECT_THAT(StepAfter(absl::InvalidArgumentError("start_time: 12:00 is over"), create), HasSubstr("--from 2h"));
  EXPECT_THAT(StepAfter(absl::InvalidArgumentError("end_time: 12:00 is over"), create), HasSubstr("--for 2h"));
  EXPECT_EQ(StepAfter(absl::InvalidArgumentError("note: 600 bytes"), create), "  try: a shorter --note\n");
  EXPECT_EQ(StepAfter(absl::NotFoundError("no device has a label 'rack'"), create), "  try: ballast devices list\n");
  EXPECT_EQ(StepAfter(absl::AlreadyExistsError("device d-1 is reserved for bob"), create),
            "  try: another time or other devices; ballast reservations list\n");
  EXPECT_EQ(Run(create), 6);
  EXPECT_EQ(StepAfter(absl::NotFoundError("no reservation 'v-2'"), {"reservations", "end", "v-2"}),
            "  try: ballast reservations list\n");
}

}  // namespace
}  // namespace ballast::cli
