#include "cli/key_value.h"

#include "ballast/v1/run.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(KeyValueTest, Lists) {
  EXPECT_THAT(SplitList("a,b"), ElementsAre("a", "b"));
  EXPECT_THAT(SplitList(",a,,b,"), ElementsAre("a", "b"));
  EXPECT_THAT(SplitList(""), ElementsAre());
}

TEST(KeyValueTest, Pairs) {
  EXPECT_THAT(*ParsePairs("--on", {"a=1,b=2", "c=3=4"}), ElementsAre(Pair("a", "1"), Pair("b", "2"), Pair("c", "3=4")));
  EXPECT_THAT(*ParsePairs("--annotate", {"a=1,2", "b="}, /*list=*/false), ElementsAre(Pair("a", "1,2"), Pair("b", "")));
  EXPECT_THAT(*ParsePairs("--on", {"a=1", "a=1"}), ElementsAre(Pair("a", "1")));
  for (const char* bad : {"a", "=1", "a=1,b"}) {
    EXPECT_EQ(ParsePairs("--on", {bad}).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  EXPECT_THAT(std::string(ParsePairs("--on", {"a=1", "a=2"}).status().message()),
              testing::HasSubstr("'a' has two values, '1' and '2'"));
  const auto problem = [](const char* text) { return std::string(ParsePairs("--on", {text}).status().message()); };
  EXPECT_EQ(problem("a=1,,b=2"), "--on: at 5 of 'a=1,,b=2': expected key=value, not a comma");
  EXPECT_EQ(problem("a=1, "), "--on: at 5 of 'a=1, ': expected key=value, not the end");
  EXPECT_EQ(problem(",a=1"), "--on: at 1 of ',a=1': expected key=value, not a comma");
  EXPECT_EQ(problem(""), "--on: at 1 of '': expected key=value, not the end");
  EXPECT_THAT(*ParsePairs("--annotate", {"a=1,,"}, /*list=*/false), ElementsAre(Pair("a", "1,,")));
}

TEST(KeyValueTest, EnumNames) {
  EXPECT_EQ(*ParseEnumName("--expect", "oom-killed", *v1::OutcomeKind_descriptor()), v1::OOM_KILLED);
  EXPECT_EQ(*ParseEnumName("--expect", "Completed", *v1::OutcomeKind_descriptor()), v1::COMPLETED);
  EXPECT_EQ(EnumStyle("mmap+populate"), "MMAP_POPULATE");
  EXPECT_EQ(EnumStyle("llama.cpp"), "LLAMA_CPP");
  EXPECT_FALSE(ParseEnumName("--expect", "OUTCOME_KIND_UNSPECIFIED", *v1::OutcomeKind_descriptor()).ok());
  EXPECT_THAT(std::string(ParseEnumName("--expect", "timed", *v1::OutcomeKind_descriptor()).status().message()),
              testing::HasSubstr("--expect: 'timed'"));
}

}  // namespace
}  // namespace ballast::cli
