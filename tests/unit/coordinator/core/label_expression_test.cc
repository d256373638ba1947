#include "coordinator/core/label_expression.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::core {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

v1::Device PhoneInRackA() {
  v1::Device device;
  device.set_device_id("d-1");
  (*device.mutable_labels())["rack"] = "a";
  (*device.mutable_labels())["shelf"] = "3";
  (*device.mutable_labels())["note"] = "two words";
  device.mutable_facts()->set_memory_bytes(std::uint64_t{4} << 30U);
  device.mutable_facts()->set_cpu_count(4);
  device.mutable_facts()->set_architecture("aarch64");
  return device;
}

TEST(LabelExpression, SaysWhetherADeviceMatches) {
  const v1::Device device = PhoneInRackA();
  const auto matches = [&](std::string_view text) {
    const absl::StatusOr<LabelExpression> expression = LabelExpression::Parse(text);
    EXPECT_TRUE(expression.ok()) << text << ": " << expression.status();
    return expression.ok() && expression->Matches(device);
  };
  for (const char* text : {"rack=a",
                           "rack == a",
                           "rack",
                           "!broken",
                           "rack!=b",
                           "broken!=yes",
                           "rack in (a, b)",
                           "rack notin (b,c)",
                           "broken notin (yes)",
                           "memory_bytes <= 4GiB",
                           "memory_bytes=4 GiB",
                           "memory_bytes > 3.5GiB",
                           "cpu_count>=4",
                           "cpu_count in (2, 4)",
                           "architecture=aarch64",
                           "architecture!=x86_64",
                           "shelf < 10",
                           "note=\"two words\"",
                           "rack=a, cpu_count < 8 ,!broken",
                           "rack=b || rack=a",
                           "rack=b, cpu_count=4 || architecture = aarch64",
                           "!swap_bytes",
                           "memory_bytes"}) {
    EXPECT_TRUE(matches(text)) << text;
  }
  for (const char* text : {"rack=b", "broken", "!rack", "rack!=a", "rack notin (a)", "memory_bytes < 4GiB",
                           "cpu_count > 4", "architecture=x86_64", "shelf > 3", "broken > 1", "rack > 1",
                           "rack=a, broken", "rack=b || broken", "swap_bytes", "cpu_count!=4"}) {
    EXPECT_FALSE(matches(text)) << text;
  }
}

TEST(LabelExpression, ProblemsNameTheirPlace) {
  const auto problem = [](std::string_view text) {
    const absl::StatusOr<LabelExpression> expression = LabelExpression::Parse(text);
    EXPECT_EQ(expression.status().code(), absl::StatusCode::kInvalidArgument) << text;
    return std::string(expression.status().message());
  };
  EXPECT_THAT(problem(""), StartsWith("at 1: expected the name of a label"));
  EXPECT_THAT(problem("rack=a,"), StartsWith("at 8: "));
  EXPECT_THAT(problem("!rack,,"), StartsWith("at 7: expected the name of a label or of a fact, not ','"));
  EXPECT_THAT(problem("rack in (a,,b)"), StartsWith("at 12: expected a value, not ',b)'"));
  EXPECT_THAT(problem("rack="), StartsWith("at 6: expected a value, not the end"));
  EXPECT_THAT(problem("rack a"), StartsWith("at 6: expected one of = != < <= > >= in notin, not 'a'"));
  EXPECT_THAT(problem("rack in a"), StartsWith("at 9: expected '('"));
  EXPECT_THAT(problem("rack in (a"), StartsWith("at 11: expected ',' or ')'"));
  EXPECT_THAT(problem("rack=a | rack=b"), StartsWith("at 8: expected ',' or '||'"));
  EXPECT_THAT(problem("memory_bytes <= 4XiB"), HasSubstr("expected a number of bytes such as 4GiB"));
  EXPECT_THAT(problem("cpu_count >= many"), StartsWith("at 14: expected a number"));
  EXPECT_THAT(problem("architecture > x"), HasSubstr("architecture is text and has no order"));
  EXPECT_THAT(problem("note=\"open"), HasSubstr("closing"));
  EXPECT_THAT(problem(std::string(5000, 'x')), HasSubstr("4096"));
}

TEST(LabelExpression, KnowsWhichLabelsMustBeThere) {
  EXPECT_THAT(LabelExpression::Parse("rack=a, !broken, shelf > 2, cpu_count > 1, site notin (x) || rack, pool in (y)")
                  ->WantedLabels(),
              ElementsAre("rack", "shelf", "pool"));
  EXPECT_THAT(FactNames(), Contains("memory_bytes"));
  EXPECT_THAT(FactNames(), testing::Not(Contains("capabilities")));
}

}  // namespace
}  // namespace ballast::core
