#include "coordinator/core/device_desk.h"

#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class DeviceDeskTest : public CoreTest {
 protected:
  absl::StatusOr<v1::Device> Drain(const std::string& device_id, bool drained = true) {
    absl::StatusOr<v1::Device> device = core_->SetDrained(now_, device_id, drained, &actions_);
    Settle();
    return device;
  }
  absl::StatusOr<v1::Device> Remove(const std::string& device_id) {
    absl::StatusOr<v1::Device> device = core_->RemoveDevice(now_, device_id, &actions_);
    Settle();
    return device;
  }
};

TEST_F(DeviceDeskTest, ADrainedDeviceFinishesItsRunAndGetsNoOther) {
  const SessionId session = Connect("a");
  v1::JobSpec spec = Spec();
  spec.set_repetitions(2);
  ASSERT_TRUE(Submit(spec).ok());
  EXPECT_EQ(Drain("a")->state(), v1::Device::DRAINING);
  Started(session, "j-1.1");
  Finished(session, "j-1.1");
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::COMPLETED);
  EXPECT_EQ(Run("j-1.2").state(), v1::Run::QUEUED);
  EXPECT_THAT(WaitsFor("j-1"), ElementsAre("1 DEVICE_DRAINED: device a is drained (ballast devices resume a)"));
  // Drained it stays, also when it connects again.
  Disconnect(session);
  EXPECT_EQ(Device("a").state(), v1::Device::OFFLINE);
  const SessionId again = Connect("a");
  EXPECT_EQ(Device("a").state(), v1::Device::DRAINING);
  EXPECT_THAT(Said(again), ElementsAre("welcome"));
  EXPECT_EQ(Drain("a", false)->state(), v1::Device::BUSY);
  EXPECT_THAT(Said(again), ElementsAre("assign j-1.2/1"));
}

TEST_F(DeviceDeskTest, LabelsAreKeptOverConnections) {
  const SessionId session = Connect("a", {{"class", "small"}});
  v1::LabelDeviceRequest request;
  request.set_device_id("a");
  (*request.mutable_set())["class"] = "big";
  const absl::StatusOr<v1::Device> device = core_->LabelDevice(now_, request, &actions_);
  Settle();
  ASSERT_TRUE(device.ok());
  EXPECT_EQ(Device("a").labels().at("class"), "big");
  Disconnect(session);
  Restart();
  Connect("a", {{"class", "small"}, {"site", "x"}});
  EXPECT_EQ(Device("a").labels().at("class"), "big");
  EXPECT_EQ(Device("a").labels().at("site"), "x");
}

TEST_F(DeviceDeskTest, OnlyIdleOfflineDevicesAreForgotten) {
  const SessionId session = Connect("a");
  EXPECT_EQ(Remove("a").status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Submit(Spec()).ok());
  Disconnect(session);
  EXPECT_EQ(Remove("a").status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Cancel("j-1").ok());
  AdvanceTicking(hours(2));
  ASSERT_TRUE(Remove("a").ok());
  EXPECT_FALSE(kept_.devices.contains("a"));
  EXPECT_TRUE(kept_.runs.contains("j-1.1"));
  EXPECT_FALSE(core_->NextWakeUp().has_value());
  // It may come back as a new one.
  Connect("a");
  EXPECT_EQ(Device("a").state(), v1::Device::READY);
}

TEST_F(DeviceDeskTest, UnknownDevicesAreMetWithTheNearest) {
  options_.did_you_mean = [](const std::string&, const std::vector<std::string>& names) {
    return "did you mean '" + names[0] + "'?";
  };
  Restart();
  Connect("phone");
  for (const absl::Status& status : {Drain("fone").status(), Remove("fone").status(), core_->GetDevice("fone").status(),
                                     core_->LabelDevice(now_, {}, &actions_).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(status.message()), HasSubstr("did you mean 'phone'?"));
  }
}

TEST_F(DeviceDeskTest, TheLiveDeviceIsFresherThanTheStoredOne) {
  const SessionId session = Connect("a");
  Advance(seconds(5));
  Heartbeat(session);
  EXPECT_EQ(base::FromProto(core_->GetDevice("a")->last_seen_time()), now_.wall);
  EXPECT_EQ(base::FromProto(Device("a").last_seen_time()), now_.wall - seconds(5));
}

}  // namespace
}  // namespace ballast::core
