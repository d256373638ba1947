#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"
#include "tests/unit/cli/fake_coordinator.h"

namespace ballast::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

class DeviceCommandsTest : public CommandTest {
 protected:
  DeviceCommandsTest() {
    variables_["BALLAST_COORDINATOR"] = coordinator_.address();
    v1::Device& device = coordinator_.devices["d-1"];
    device.set_device_id("d-1");
    device.set_state(v1::Device::READY);
    device.mutable_facts()->set_hostname("设备");
    device.mutable_facts()->set_memory_bytes(4ULL << 30U);
    device.mutable_facts()->add_limitations("PSI is not readable: no such file");
    (*device.mutable_labels())["class"] = "a";
  }

  FakeCoordinator coordinator_{directory_.path()};
};

TEST_F(DeviceCommandsTest, ListAndShow) {
  ASSERT_EQ(Run({"devices", "list"}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("d-1     设备  READY"));
  ASSERT_EQ(Run({"devices", "list", "--output", "json"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"devices\": ["));
  ASSERT_EQ(Run({"devices", "list", "--output", "csv"}), 0);
  EXPECT_THAT(out(), HasSubstr("\r\nd-1,设备,READY,,4294967296,"));
  ASSERT_EQ(Run({"devices", "show", "d-1"}), 0);
  EXPECT_THAT(out(), HasSubstr("PSI is not readable"));
  ASSERT_EQ(Run({"devices", "show", "d-1", "--output", "json"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"state\": \"READY\""));
  EXPECT_EQ(Run({"devices", "show", "d-2"}), 4);
  EXPECT_EQ(err(), "error: there is no device d-2\n  try: ballast devices list\n");
}

TEST_F(DeviceCommandsTest, WhatIsSaidOfSelfTestsIsTrueOfWaitingJobsAndDrainedDevices) {
  v1::Device& device = coordinator_.devices["d-1"];
  v1::DeviceHealth& health = *device.mutable_health();
  health.mutable_quarantine_time()->set_seconds(1'740'837'600);
  health.set_check_job_id("j-7");
  health.set_failed_check_count(2);
  const auto said = [this] {
    EXPECT_EQ(Run({"devices", "show", "d-1"}), 0) << err();
    const std::string text = out();
    const std::size_t begin = text.find("self-tests:");
    return text.substr(begin, text.find('\n', begin) - begin);
  };
  EXPECT_THAT(said(), HasSubstr(" job j-7 is under way, 2 failed"));
  health.mutable_next_check_time()->set_seconds(1'740'837'900);
  EXPECT_THAT(said(), HasSubstr(" next 2025-03-0"));
  device.set_drained(true);
  EXPECT_THAT(said(), HasSubstr(" none while the device is drained, 2 failed"));
}

TEST_F(DeviceCommandsTest, LabelsAreSetAndRemoved) {
  ASSERT_EQ(Run({"devices", "label", "d-1", "class=b", "note=", "site-"}), 0) << err();
  EXPECT_THAT(coordinator_.label_requests[0].set(), UnorderedElementsAre(Pair("class", "b"), Pair("note", "")));
  EXPECT_THAT(coordinator_.label_requests[0].remove(), ElementsAre("site"));
}

TEST_F(DeviceCommandsTest, ABadLabelIsAnsweredWithTheRuleForLabels) {
  EXPECT_EQ(Run({"devices", "label", "d-1", "my class=b"}), 2);
  EXPECT_THAT(err(), HasSubstr("error: label 'my class': a space\n  try: a label such as class=mini-pc: "));
}

TEST_F(DeviceCommandsTest, ARefusalIsCode6) {
  EXPECT_EQ(Run({"devices", "remove", "d-1"}), 6);
  EXPECT_THAT(err(), HasSubstr("d-1 is connected"));
}

TEST_F(DeviceCommandsTest, WaitEndsAtOnceForAConnectedDeviceAndInTimeForOthers) {
  EXPECT_EQ(Run({"devices", "wait", "d-1"}), 0) << err();
  EXPECT_EQ(Run({"devices", "wait", "d-2", "--timeout", "0"}), 4);
  EXPECT_THAT(err(), HasSubstr("'d-2' does not appear"));
  coordinator_.devices["d-1"].set_state(v1::Device::OFFLINE);
  EXPECT_EQ(Run({"devices", "wait", "d-1", "--timeout", "0"}), 3);
}

}  // namespace
}  // namespace ballast::cli
