#include "cli/device_flags.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

v1::DeviceSelector Filled(const DeviceFlags& flags) {
  v1::DeviceSelector selector;
  const absl::Status status = FillDevices(flags, &selector);
  EXPECT_TRUE(status.ok()) << status;
  return selector;
}

TEST(DeviceFlags, LabelsStayLabelsAndEverythingElseIsAnExpression) {
  const v1::DeviceSelector labels = Filled({.on = {"class=a,site=lab 1", "rack=b"}});
  EXPECT_THAT(labels.labels(), UnorderedElementsAre(Pair("class", "a"), Pair("site", "lab 1"), Pair("rack", "b")));
  EXPECT_EQ(labels.expression(), "");
  for (const char* text : {"rack in (a, b)", "!broken", "memory_bytes<=4GiB", "architecture=aarch64", "rack!=a",
                           "rack=a, !broken", "rack=a || rack=b", "note=\"x y\"", "rack==a"}) {
    const v1::DeviceSelector selector = Filled({.on = {text}});
    EXPECT_EQ(selector.expression(), text);
    EXPECT_TRUE(selector.labels().empty()) << text;
  }
  const v1::DeviceSelector both = Filled({.on = {"rack=a", "!broken", "cpu_count >= 4"}, .count = "2"});
  EXPECT_EQ(both.expression(), "!broken, cpu_count >= 4");
  EXPECT_EQ(both.labels().at("rack"), "a");
  EXPECT_EQ(both.count(), 2U);
  EXPECT_TRUE(ChoosesDevices(both));
  EXPECT_FALSE(ChoosesDevices(Filled({})));
}

TEST(DeviceFlags, ProblemsNameTheFlag) {
  v1::DeviceSelector selector;
  EXPECT_THAT(std::string(FillDevices({.on = {"!a", "b || c"}}, &selector).message()), HasSubstr("stands alone"));
  EXPECT_EQ(std::string(FillDevices({.on = {"rack=a,,"}}, &selector).message()),
            "--on: at 8 of 'rack=a,,': expected key=value, not a comma");
  EXPECT_THAT(std::string(FillDevices({.on = {","}}, &selector).message()), HasSubstr("--on: at 1"));
  EXPECT_THAT(std::string(FillDevices({.count = "0"}, &selector).message()), HasSubstr("--count: must be at least 1"));
  EXPECT_THAT(std::string(FillDevices({.count = "some"}, &selector).message()), HasSubstr("--count: "));
}

}  // namespace
}  // namespace ballast::cli
