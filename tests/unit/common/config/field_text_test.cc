#include "common/config/field_text.h"

#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/job.pb.h"

namespace ballast::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string ProblemOf(std::string_view path, std::string_view text) {
  v1::JobSpec spec;
  const absl::Status status = SetField(&spec, path, text);
  EXPECT_EQ(spec.ByteSizeLong(), 0U) << "unchanged on failure";
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

std::string NotFound(std::string_view path) {
  v1::JobSpec spec;
  const absl::Status status = SetField(&spec, path, "1");
  EXPECT_EQ(spec.ByteSizeLong(), 0U) << "unchanged on failure";
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  return std::string(status.message());
}

TEST(SetFieldTest, SetsFieldsInTheirOwnUnits) {
  v1::JobSpec spec;
  for (const auto& [path, text] :
       std::vector<std::pair<std::string, std::string>>{{"display_name", "a job"},
                                                        {"workload.pressure.staircase.step_size_bytes", "64MB"},
                                                        {"workload.pressure.staircase.interval", "1.5"},
                                                        {"workload.pressure.floor_percent", "7%"},
                                                        {"workload.pressure.content.kind", "zero"},
                                                        {"priority", "-3"},
                                                        {"devices.all", "true"},
                                                        {"devices.device_ids", "d-1"},
                                                        {"devices.device_ids", "d-2"},
                                                        {"annotations.build", "1"},
                                                        {"annotations.build", "2"},
                                                        {"annotations.example.com/a", ""}}) {
    const absl::Status status = SetField(&spec, path, text);
    EXPECT_TRUE(status.ok()) << path << ": " << status;
  }
  EXPECT_EQ(spec.display_name(), "a job");
  EXPECT_EQ(spec.workload().pressure().staircase().step_size_bytes(), 64U << 20U);
  EXPECT_EQ(spec.workload().pressure().staircase().interval().nanos(), 500'000'000);
  EXPECT_EQ(spec.workload().pressure().floor_percent(), 7);
  EXPECT_EQ(spec.workload().pressure().content().kind(), v1::PageContent::ZERO);
  EXPECT_EQ(spec.priority(), -3);
  EXPECT_TRUE(spec.devices().all());
  EXPECT_THAT(spec.devices().device_ids(), ElementsAre("d-1", "d-2"));
  EXPECT_EQ(spec.annotations().size(), 2U);
  EXPECT_EQ(spec.annotations().at("build"), "2");
  EXPECT_EQ(spec.annotations().at("example.com/a"), "");
}

TEST(SetFieldTest, ReadsNamesAsPeopleWriteThem) {
  v1::JobSpec spec;
  ASSERT_TRUE(SetField(&spec, "workload.model.load.loader", "mmap+populate").ok());
  ASSERT_TRUE(SetField(&spec, "workload.model.load.runtime", "llama.cpp").ok());
  ASSERT_TRUE(SetField(&spec, "workload.model.load.cache", "as-is").ok());
  EXPECT_EQ(spec.workload().model().load().loader(), v1::ModelLoad::MMAP_POPULATE);
  EXPECT_EQ(spec.workload().model().load().runtime(), v1::ModelLoad::LLAMA_CPP);
  EXPECT_EQ(spec.workload().model().load().cache(), v1::AS_IS);
}

TEST(SetFieldTest, ChoosesAGroup) {
  v1::JobSpec spec;
  ASSERT_TRUE(SetField(&spec, "workload.pressure.staircase.steps", "3").ok());
  ASSERT_TRUE(SetField(&spec, "workload.pressure.allocate_full", "{}").ok());
  EXPECT_TRUE(spec.workload().pressure().has_allocate_full()) << "in the place of the other";
  EXPECT_THAT(ProblemOf("workload.pressure.allocate_full", "5"),
              HasSubstr("'allocate_full' is a group; set one of its fields (until, hold)"));
}

TEST(SetFieldTest, ReadsTimesAndLists) {
  v1::RunFilter filter;
  ASSERT_TRUE(SetField(&filter, "created_from", "2025-01-31T12:00:00Z").ok());
  EXPECT_EQ(filter.created_from().seconds(), 1'738'324'800);
  ASSERT_TRUE(SetField(&filter, "outcomes", "oom_killed").ok());
  ASSERT_TRUE(SetField(&filter, "outcomes", "COMPLETED").ok());
  EXPECT_THAT(filter.outcomes(), ElementsAre(v1::OOM_KILLED, v1::COMPLETED));
  EXPECT_THAT(std::string(SetField(&filter, "created_from", "yesterday").message()),
              HasSubstr("write it as 2025-01-31T12:00:00Z"));
}

TEST(SetFieldTest, SaysWhatIsAccepted) {
  constexpr std::string_view kTarget = "workload.pressure.burst.target_percent";
  EXPECT_EQ(ProblemOf(kTarget, "0"), "must be above 0% and at most 100%, not 0%");
  EXPECT_EQ(ProblemOf(kTarget, "101"), "must be above 0% and at most 100%, not 101%");
  EXPECT_EQ(ProblemOf(kTarget, "-5"), "must be above 0% and at most 100%, not -5%");
  EXPECT_EQ(ProblemOf(kTarget, "abc"), "'abc' is not a percentage; write it as 70 or 70% (above 0% and at most 100%)");
  EXPECT_EQ(ProblemOf("priority", "99999999999"),
            "'99999999999' does not fit; write a whole number from -2147483648 to 2147483647 (at least -1000 and at "
            "most 1000)");
  EXPECT_EQ(ProblemOf("priority", ""), "'' is not a whole number (at least -1000 and at most 1000)");
  EXPECT_EQ(
      ProblemOf("policy.expect", "OOMKILLED"),
      "must be COMPLETED, OOM_KILLED, GUARD_STOPPED, LOAD_FAILED, ALLOCATION_FAILED, TIMED_OUT, CANCELLED, "
      "DEVICE_REBOOTED, "
      "DEVICE_LOST, WORKER_CRASHED, ENVIRONMENT_REFUSED, INVALID or COMMAND_FAILED, not 'OOMKILLED'; did you mean "
      "'OOM_KILLED'?");
  EXPECT_EQ(ProblemOf("display_name", "\xff"), "'\\xff' is not UTF-8 text");
  EXPECT_EQ(ProblemOf("annotations.", "x"), "name the entry to set, as in annotations.NAME=VALUE");
  EXPECT_EQ(ProblemOf("annotations", "x"), "name the entry to set, as in annotations.NAME=VALUE");
}

TEST(SetFieldTest, ListsEndAtTheirGreatestLength) {
  v1::QuantizationWorkload workload;
  for (int i = 0; i < 32; ++i) ASSERT_TRUE(SetField(&workload, "quant_levels", "Q4").ok());
  EXPECT_EQ(std::string(SetField(&workload, "quant_levels", "Q4").message()), "must have at most 32 entries, not 33");
  EXPECT_EQ(workload.quant_levels_size(), 32);
}

TEST(SetFieldTest, NamesTheNearestField) {
  EXPECT_EQ(NotFound("priorty"), "no field 'priorty'; did you mean 'priority'?");
  EXPECT_EQ(NotFound("workload.pressure.burst.taget_percent"),
            "no field 'taget_percent' in 'workload.pressure.burst'; did you mean 'target_percent'?");
  EXPECT_EQ(NotFound("devices.zzz"), "no field 'zzz' in 'devices'; known here: labels, device_ids, all, expression, count");
  EXPECT_EQ(NotFound("priority.x"), "'priority' has no fields of its own");
  EXPECT_EQ(NotFound("devices.device_ids.x"), "'device_ids' has no fields of its own");
  EXPECT_THAT(NotFound(""), HasSubstr("no field ''; known here: display_name"));
  EXPECT_THAT(NotFound("devices."), HasSubstr("no field '' in 'devices'"));
  EXPECT_THAT(NotFound(".devices"), HasSubstr("no field ''"));
}

TEST(NearestNamesTest, FindsTyposAndParts) {
  const std::vector<std::string> names = {"min_percent", "max_percent", "cycles", "cycle_duration", "step_size_bytes"};
  EXPECT_THAT(NearestNames("cycels", names), ElementsAre("cycles"));  // neighbours swapped
  EXPECT_THAT(NearestNames("CYCLES", names), ElementsAre("cycles"));  // case
  EXPECT_THAT(NearestNames("cycle", names), ElementsAre("cycles", "cycle_duration"));
  EXPECT_THAT(NearestNames("mix_percent", names), ElementsAre("min_percent", "max_percent"));
  EXPECT_THAT(NearestNames("step_size", names), ElementsAre("step_size_bytes"));
  EXPECT_THAT(NearestNames("percent", names), ElementsAre("min_percent", "max_percent"));
  EXPECT_THAT(NearestNames("ent", names), IsEmpty());
  EXPECT_THAT(NearestNames("", names), IsEmpty());
  EXPECT_THAT(NearestNames("colour", names), IsEmpty());
  EXPECT_THAT(NearestNames(std::string(1'000'000, 'x'), names), IsEmpty());
  EXPECT_THAT(NearestNames("aa", {"ab", "ac", "ad", "ae", "aa"}), ElementsAre("aa", "ab", "ac"))
      << "best first, three at most";
}

TEST(DidYouMeanTest, IsASentence) {
  EXPECT_EQ(DidYouMean("frst", {"first", "second"}), "did you mean 'first'?");
  EXPECT_EQ(DidYouMean("ax", {"ab", "ac", "ad"}), "did you mean 'ab', 'ac' or 'ad'?");
  EXPECT_EQ(DidYouMean("zzz", {"first"}), "");
}

}  // namespace
}  // namespace ballast::config
