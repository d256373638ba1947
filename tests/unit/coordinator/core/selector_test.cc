#include "coordinator/core/selector.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SelectorTest : public testing::Test {
 protected:
  SelectorTest() {
    CoreOptions options;
    options.did_you_mean = [](const std::string& name, const std::vector<std::string>& candidates) {
      for (const std::string& candidate : candidates) {
        if (candidate[0] == name[0]) return "did you mean '" + candidate + "'?";
      }
      return std::string();
    };
    state_ = std::make_unique<State>(std::move(options));
    spec_.mutable_workload()->mutable_pressure()->mutable_burst();
  }

  v1::Device& Add(const std::string& device_id, const std::map<std::string, std::string>& labels = {}) {
    v1::Device device;
    device.set_device_id(device_id);
    for (const auto& [key, value] : labels) (*device.mutable_labels())[key] = value;
    device.mutable_facts()->set_hostname("host");
    device.mutable_facts()->add_capabilities(v1::WORKLOAD_PRESSURE);
    return state_->AddDevice(std::move(device)).device;
  }

  absl::StatusOr<std::vector<std::string>> Select() { return SelectDevices(state_.get(), spec_); }
  v1::DeviceSelector& Selector() { return *spec_.mutable_devices(); }

  std::unique_ptr<State> state_;
  v1::JobSpec spec_;
};

TEST_F(SelectorTest, NothingGivenMeansTheOnlyDevice) {
  EXPECT_EQ(Select().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Select().status().message()), HasSubstr("no device has connected"));
  Add("a");
  ASSERT_TRUE(Select().ok());
  EXPECT_THAT(*Select(), ElementsAre("a"));
  Add("b");
  EXPECT_EQ(Select().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Select().status().message()), HasSubstr("a (host), b (host)"));
}

TEST_F(SelectorTest, EveryGivenConditionMustHold) {
  Add("a1", {{"class", "a"}, {"site", "x"}});
  Add("a2", {{"class", "a"}, {"site", "y"}});
  Add("b1", {{"class", "b"}, {"site", "x"}});
  Selector().set_all(true);
  EXPECT_THAT(*Select(), ElementsAre("a1", "a2", "b1"));
  (*Selector().mutable_labels())["class"] = "a";
  EXPECT_THAT(*Select(), ElementsAre("a1", "a2"));
  (*Selector().mutable_labels())["site"] = "x";
  EXPECT_THAT(*Select(), ElementsAre("a1"));
  Selector().add_device_ids("a2");
  EXPECT_EQ(Select().status().code(), absl::StatusCode::kFailedPrecondition);
  Selector().add_device_ids("a1");
  EXPECT_THAT(*Select(), ElementsAre("a1"));
  Selector().clear_labels();
  EXPECT_THAT(*Select(), ElementsAre("a1", "a2"));
}

TEST_F(SelectorTest, UnknownNamesAreMetWithTheNearestOnes) {
  Add("phone-1", {{"class", "small"}});
  Add("tablet-1");
  Selector().add_device_ids("phone-2");
  EXPECT_EQ(Select().status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Select().status().message()), HasSubstr("no device 'phone-2'; did you mean 'phone-1'?"));
  Selector().set_device_ids(0, "x");
  EXPECT_THAT(std::string(Select().status().message()), HasSubstr("devices: phone-1, tablet-1"));
  Selector().clear_device_ids();
  (*Selector().mutable_labels())["clas"] = "small";
  EXPECT_EQ(Select().status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Select().status().message()), HasSubstr("did you mean 'class'?"));
  Selector().clear_labels();
  (*Selector().mutable_labels())["class"] = "big";
  EXPECT_EQ(Select().status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Select().status().message()), HasSubstr("class=big; values of 'class': small"));
}

TEST_F(SelectorTest, ListsOfAFleetAreCutShort) {
  for (int i = 10; i < 40; ++i) Add("d" + std::to_string(i));
  EXPECT_THAT(std::string(Select().status().message()), HasSubstr("d19 (host) and 20 more"));
}

TEST_F(SelectorTest, GoesOnlyToDevicesThatCanDoIt) {
  Add("a");
  Add("b").mutable_facts()->add_capabilities(v1::WORKLOAD_MODEL);
  spec_.mutable_workload()->mutable_model();
  Selector().set_all(true);
  EXPECT_THAT(*Select(), ElementsAre("b"));
  Selector().add_device_ids("a");
  Selector().add_device_ids("b");
  EXPECT_EQ(Select().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Select().status().message()), HasSubstr("device a lacks WORKLOAD_MODEL"));
  Selector().clear_device_ids();
}

TEST_F(SelectorTest, AnEnvironmentIsTheDevicesToRefuse) {
  Add("a");
  spec_.set_environment("4gb-swap");
  spec_.mutable_environment_profile()->set_name("4gb-swap");
  Selector().add_device_ids("a");
  EXPECT_THAT(*Select(), ElementsAre("a"));
}

TEST_F(SelectorTest, EachKindOfWorkloadNeedsItsCapability) {
  Add("a").mutable_facts()->clear_capabilities();
  const std::vector<std::pair<std::string, v1::Capability>> kinds = {{"pressure", v1::WORKLOAD_PRESSURE},
                                                                     {"model", v1::WORKLOAD_MODEL},
                                                                     {"quantization", v1::WORKLOAD_QUANTIZATION},
                                                                     {"stability", v1::WORKLOAD_STABILITY},
                                                                     {"capacity", v1::WORKLOAD_CAPACITY}};
  for (const auto& [kind, capability] : kinds) {
    v1::Workload workload;
    workload.GetReflection()->MutableMessage(&workload, v1::Workload::descriptor()->FindFieldByName(kind));
    EXPECT_EQ(WorkloadKind(workload), kind);
    *spec_.mutable_workload() = workload;
    EXPECT_EQ(Select().status().code(), absl::StatusCode::kFailedPrecondition) << kind;
    state_->FindDevice("a")->device.mutable_facts()->add_capabilities(capability);
    EXPECT_TRUE(Select().ok()) << kind;
  }
  EXPECT_EQ(WorkloadKind({}), "");
}

TEST_F(SelectorTest, LeavesDrainedDevicesOut) {
  Add("a").set_drained(true);
  Add("b");
  Selector().set_all(true);
  EXPECT_THAT(*Select(), ElementsAre("b"));
  Selector().add_device_ids("a");
  EXPECT_EQ(Select().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Select().status().message()), HasSubstr("device a is drained (ballast devices resume a)"));
}

TEST_F(SelectorTest, ACommandMustBeInTheConfigurationOfTheDevice) {
  spec_.mutable_workload()->mutable_command()->set_command_id("photo-import");
  const auto add = [this](const std::string& device_id, const std::vector<std::string>& commands) {
    v1::DeviceFacts& facts = *Add(device_id).mutable_facts();
    facts.add_capabilities(v1::WORKLOAD_COMMAND);
    for (const std::string& command : commands) facts.add_command_ids(command);
  };
  add("a", {"photo-export"});
  add("b", {});
  Selector().set_all(true);
  EXPECT_EQ(Select().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(Select().status().message()),
      testing::AllOf(
          HasSubstr("device a names no command 'photo-import' (did you mean 'photo-export'?); the configuration of "),
          HasSubstr("device b names no command 'photo-import' (it names none)")));
  add("c", {"photo-import"});
  ASSERT_TRUE(Select().ok()) << Select().status();
  EXPECT_THAT(*Select(), ElementsAre("c"));
  Selector().add_device_ids("a");
  EXPECT_EQ(Select().status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace ballast::core
