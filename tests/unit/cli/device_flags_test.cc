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
  for (const char* text :
       {"rack in (a, b)", "!broken", "memory_bytes<=4GiB", "architecture=aarch64", "rack!=a", "rack=a, !broken",
        "rack=a || rack=b", "note=\"x y\"", "rack==a", "rack", "swap_bytes", "rack||broken", "rack,class=a"}) {
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
  EXPECT_EQ(std::string(FillDevices({.on = {"rack=a,,class=b"}}, &selector).message()),
            "--on: at 8 of 'rack=a,,class=b': expected key=value, not a comma");
  EXPECT_EQ(std::string(FillDevices({.on = {"rack=a,"}}, &selector).message()),
            "--on: at 8 of 'rack=a,': expected a condition behind the comma, not the end");
  EXPECT_EQ(std::string(FillDevices({.on = {"!broken, ", "rack"}}, &selector).message()),
            "--on: at 9 of '!broken, ': expected a condition behind the comma, not the end");
  for (const char* text : {"", " "}) {
    EXPECT_EQ(std::string(FillDevices({.on = {text}}, &selector).message()), "--on: the value is empty");
  }
  EXPECT_THAT(std::string(FillDevices({.count = "0"}, &selector).message()), HasSubstr("--count: must be at least 1"));
  EXPECT_THAT(std::string(FillDevices({.count = "some"}, &selector).message()), HasSubstr("--count: "));
}

TEST(DeviceFlags, WhereListsAreFilteredAnExpressionIsCalledOne) {
  const auto labels = ParseLabels({"class=a,note=x (old) > 2", "rack=b"});
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_THAT(*labels, UnorderedElementsAre(Pair("class", "a"), Pair("note", "x (old) > 2"), Pair("rack", "b")));
  for (const char* text : {"rack", "rack in (a, b)", "!broken", "rack!=a", "rack==a", "memory_bytes<=4GiB",
                           "architecture=aarch64", "rack=a || rack=b", "rack=a, !broken"}) {
    const absl::Status status = ParseLabels({text}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(std::string(status.message()),
              std::string("--on: '") + text + "' is an expression, and a list of what there is takes LABEL=VALUE only");
  }
  EXPECT_EQ(std::string(ParseLabels({"class=a,,"}).status().message()),
            "--on: at 9 of 'class=a,,': expected key=value, not a comma");
}

}  // namespace
}  // namespace ballast::cli
