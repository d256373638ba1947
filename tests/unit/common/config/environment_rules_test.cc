#include "common/config/environment_rules.h"

#include <string>

#include <gmock/gmock.h>

#include "common/config/job_rules.h"
#include "common/config/yaml.h"

namespace ballast::config {
namespace {

using ::testing::HasSubstr;

absl::Status Read(const std::string& text) {
  v1::EnvironmentCatalogue catalogue;
  return ReadYaml(
      text, "env.yaml",
      [](const google::protobuf::Message& message) {
        return FindContradictions(static_cast<const v1::EnvironmentCatalogue&>(message));
      },
      &catalogue);
}

TEST(EnvironmentRulesTest, ANameMayStandOnce) {
  EXPECT_THAT(Read("environments:\n"
                   "  - {name: 小, aliases: [small, tiny], memory_bytes: 1GiB}\n"
                   "  - name: other\n"
                   "    aliases: [Tiny]\n"
                   "    memory_bytes: 1GiB\n")
                  .message(),
              testing::AllOf(HasSubstr("env.yaml:4:15: environments[1].aliases[0]: 'Tiny' is a name of '小' already")));
  EXPECT_THAT(Read("environments:\n"
                   "  - {name: SMALL, memory_bytes: 1GiB}\n"
                   "  - {name: small, memory_bytes: 1GiB}\n")
                  .message(),
              HasSubstr("env.yaml:3:12: environments[1].name: 'small' is a name of 'SMALL' already"));
  EXPECT_THAT(Read("environments: [{name: a, aliases: [A], memory_bytes: 1GiB}]\n").message(),
              HasSubstr("'A' is a name of 'a' already"));
}

TEST(EnvironmentRulesTest, SwapHasASizeOrIsNone) {
  EXPECT_THAT(Read("environments:\n  - name: a\n    memory_bytes: 1GiB\n    swap: {kind: ZRAM}\n").message(),
              HasSubstr("env.yaml:4:5: environments[0].swap.size_bytes: is missing: swap of the kind ZRAM has a size"));
  EXPECT_THAT(Read("environments:\n  - name: a\n    memory_bytes: 1GiB\n    swap: {size_bytes: 1GiB}\n").message(),
              HasSubstr("env.yaml:4:24: environments[0].swap.size_bytes: there is no swap that could have this size"));
  EXPECT_TRUE(Read("environments: [{name: a, memory_bytes: 1GiB, swap: {kind: NONE}}]\n").ok());
}

TEST(EnvironmentRulesTest, ANameIsNeitherAFlagNorHidden) {
  for (const char* const name : {"-x", "--help", "..", "."}) {
    EXPECT_THAT(Read(std::string("environments: [{name: \"") + name + "\", memory_bytes: 1GiB}]\n").message(),
                HasSubstr("environments[0].name: '" + std::string(name) + "' is no name: one begins with neither"));
    EXPECT_THAT(
        Read(std::string("environments: [{name: a, aliases: [b, \"") + name + "\"], memory_bytes: 1GiB}]\n").message(),
        HasSubstr("environments[0].aliases[1]: "));
  }
  v1::JobSpec job;
  job.mutable_environment_profile()->set_name("--help");
  EXPECT_THAT(FindContradictions(job), testing::SizeIs(1));
}

TEST(EnvironmentRulesTest, WhatIsMissingIsToldOnce) {
  EXPECT_EQ(std::string(Read("environments: [{name: nomem}]\n").message()),
            "env.yaml:1:16: environments[0].memory_bytes: must be given");
  const std::string message(Read("environments:\n  - {memory_bytes: 1GiB}\n  - {memory_bytes: 2GiB}\n").message());
  EXPECT_THAT(message, HasSubstr("environments[0].name: must be given"));
  EXPECT_THAT(message, HasSubstr("environments[1].name: must be given"));
  EXPECT_THAT(message, testing::Not(HasSubstr("differ")));
}

TEST(EnvironmentRulesTest, SimplerMistakesComeFirst) {
  const std::string message(
      Read(
          "environments:\n  - {name: a, memory_bytes: 1GiB, swap: {kind: ZRAM}}\n  - {name: a b, memory_bytes: 1GiB}\n")
          .message());
  EXPECT_THAT(message, HasSubstr("env.yaml:3:12: "));
  EXPECT_THAT(message, testing::Not(HasSubstr("size_bytes")));
  EXPECT_THAT(Read("environments: [{name: a, memory_bytes: 1GiB, memory_high_bytes: 2GiB}]\n").message(),
              HasSubstr("memory_high_bytes"));
}

TEST(EnvironmentRulesTest, AJobsOwnProfileIsChecked) {
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_pressure()->mutable_burst();
  spec.mutable_environment_profile()->set_name("mine");
  spec.mutable_environment_profile()->set_memory_bytes(1U << 30U);
  spec.mutable_environment_profile()->mutable_swap()->set_kind(v1::SwapLimit::DEVICE);
  ApplyDefaults(&spec);
  EXPECT_THAT(std::string(Validate(spec).message()), HasSubstr("environment_profile.swap.size_bytes: is missing"));
}

}  // namespace
}  // namespace ballast::config
