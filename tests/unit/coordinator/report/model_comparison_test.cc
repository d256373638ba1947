#include "coordinator/report/model_comparison.h"

#include <string>
#include <vector>

#include <fmt/format.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "message_text.h"

namespace ballast::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A load that survived, with the seconds to the end of its first pass.
std::string Load(const std::string& quant, std::uint64_t file_bytes, int seconds, const std::string& more = "") {
  return fmt::format(R"(loads {{
    model_id: "m" quant: "{0}" loader: MMAP runtime: BUILTIN asked_cache: COLD file_bytes: {1}
    outcome {{ kind: COMPLETED }} start_offset {{ seconds: 5 }}
    stages {{ kind: FIRST_PASS start_offset {{ seconds: 5 }} duration {{ seconds: {2} }} }}
    peak_resident_bytes: {1} {3}
  }})",
                     quant, file_bytes, seconds, more);
}

std::string Lost(const std::string& quant, std::uint64_t file_bytes, const std::string& outcome) {
  return fmt::format(R"(loads {{
    model_id: "m" quant: "{}" loader: MMAP runtime: BUILTIN asked_cache: COLD found_cache: COLD file_bytes: {}
    outcome {{ kind: {} }} peak_resident_bytes: 7
  }})",
                     quant, file_bytes, outcome);
}

v1::Run RunOf(const std::string& device, const std::string& loads) {
  return Parse<v1::Run>(fmt::format(
      "device_id: '{}' state: ENDED workload_kind: 'quantization' attempts {{ attempt: 1 result {{ {} }} }}", device,
      loads));
}

v1::Job QuantizationJob() {
  return Parse<v1::Job>(R"pb(spec { workload { quantization { load { model_id: "m" } } } })pb");
}

ComparedModel CompareOne(const std::vector<v1::Run>& runs) {
  ModelLoads loads;
  for (const v1::Run& run : runs) loads.Add(run, QuantizationJob());
  std::vector<ComparedModel> compared = loads.Compare();
  EXPECT_EQ(compared.size(), 1);
  return compared.empty() ? ComparedModel() : compared.front();
}

TEST(OrderLevels, IsThatOfQualityAndOfSizeForTheUnknown) {
  EXPECT_THAT(OrderLevels({{"Q8_0", 80}, {"Q4_K_M", 44}, {"Q2_K", 20}, {"Q4_0", 45}, {"F16", 160}}),
              ElementsAre("Q2_K", "Q4_0", "Q4_K_M", "Q8_0", "F16"));
  EXPECT_THAT(OrderLevels({{"Q8_0", 80}, {"IQ1_S", 10}, {"Q5_0", 50}, {"Q4_K_M", 44}, {"F32", 320}, {"Q5_1", 55}}),
              ElementsAre("IQ1_S", "Q4_K_M", "Q5_0", "Q5_1", "Q8_0", "F32"));
}

TEST(ModelLoads, CountsSurvivalAndNeverTakesALostLoadForANumber) {
  const ComparedModel compared = CompareOne({RunOf("d-1", Load("Q2_K", 100, 4) + Lost("Q2_K", 100, "OOM_KILLED") +
                                                              Load("Q2_K", 100, 6) + Lost("Q2_K", 100, "CANCELLED"))});
  ASSERT_EQ(compared.comparison.levels_size(), 1);
  const v1::LevelSummary& level = compared.comparison.levels(0);
  EXPECT_EQ(level.load_count(), 3);
  EXPECT_EQ(level.survived_count(), 2);
  EXPECT_EQ(level.outcomes_size(), 3);
  EXPECT_EQ(FindFigure(level.figures(), "peak_load_resident_bytes")->n(), 2);
  EXPECT_EQ(FindFigure(level.figures(), "peak_load_resident_bytes")->min(), 100);
  EXPECT_EQ(FindFigure(level.figures(), "time_to_first_pass_seconds")->median(), 5);
  EXPECT_EQ(FindFigure(level.unsurvived_figures(), "peak_load_resident_bytes")->max(), 7);
  EXPECT_EQ(FindFigure(level.unsurvived_figures(), "time_to_first_pass_seconds"), nullptr);
}

TEST(ModelLoads, RanksBySurvivalThenTimeThenMemory) {
  const ComparedModel compared = CompareOne(
      {RunOf("d-1", Load("Q8_0", 300, 4) + Load("Q4_0", 200, 4) + Load("Q2_K", 100, 9) + Load("F16", 400, 1) +
                        Lost("F16", 400, "OOM_KILLED") + Lost("Q6_K", 250, "CANCELLED"))});
  std::vector<std::string> ranked;
  for (const v1::LevelSummary& level : compared.comparison.levels()) {
    ranked.push_back(fmt::format("{}:{}", level.quant(), level.rank()));
  }
  EXPECT_THAT(ranked, ElementsAre("Q2_K:3", "Q4_0:1", "Q6_K:0", "Q8_0:2", "F16:4"));
}

// Nothing is known of how fast it is.
TEST(ModelLoads, RanksNoLevelThatNeverSurvived) {
  const ComparedModel compared = CompareOne({RunOf("d-1", Lost("Q2_K", 100, "OOM_KILLED") + Load("Q4_0", 200, 4)),
                                             RunOf("d-2", Lost("Q2_K", 100, "LOAD_FAILED"))});
  EXPECT_EQ(compared.comparison.levels(0).quant(), "Q2_K");
  EXPECT_EQ(compared.comparison.levels(0).rank(), 0);
  EXPECT_EQ(compared.comparison.levels(1).rank(), 1);
  for (const v1::LevelSummary& level : compared.comparison.by_device()) {
    EXPECT_EQ(level.rank(), level.quant() == "Q4_0" ? 1 : 0) << level.device_id();
  }
}

TEST(ModelLoads, SumsUpOverAllDevicesAndByDevice) {
  const ComparedModel compared =
      CompareOne({RunOf("d-2", Load("Q2_K", 100, 4)), RunOf("d-1", Load("Q2_K", 100, 8) + Load("Q4_0", 200, 9))});
  EXPECT_EQ(compared.comparison.levels(0).load_count(), 2);
  ASSERT_EQ(compared.comparison.by_device_size(), 3);
  EXPECT_EQ(compared.comparison.by_device(0).device_id(), "d-1");
  EXPECT_EQ(compared.comparison.by_device(1).quant(), "Q4_0");
  EXPECT_EQ(compared.comparison.by_device(2).device_id(), "d-2");
}

TEST(ModelLoads, KeepsApartWhatWasLoadedUnderOtherConditions) {
  ModelLoads loads;
  loads.Add(RunOf("d-1", Load("Q2_K", 100, 4)), QuantizationJob());
  loads.Add(RunOf("d-1", Load("Q2_K", 100, 4, "lock: true")), QuantizationJob());
  v1::Job under_pressure = QuantizationJob();
  under_pressure.mutable_spec()
      ->mutable_workload()
      ->mutable_quantization()
      ->mutable_pressure()
      ->mutable_burst()
      ->set_target_percent(70);
  loads.Add(RunOf("d-1", Load("Q2_K", 100, 4)), under_pressure);
  loads.Add(RunOf("d-2", Load("Q2_K", 100, 4)), QuantizationJob());
  const std::vector<ComparedModel> compared = loads.Compare();
  ASSERT_EQ(compared.size(), 3);
  EXPECT_EQ(compared[0].comparison.levels(0).load_count(), 2);
  EXPECT_TRUE(compared[1].comparison.conditions().lock());
  EXPECT_EQ(compared[2].comparison.conditions().pressure().burst().target_percent(), 70);
}

TEST(ModelLoads, KeepsApartTheEnvironmentsOfAMatrix) {
  const v1::Job job = Parse<v1::Job>(R"pb(spec {
    workload { model { load { model_id: "m" } } }
    matrix {
      environments: "4gb" environments: "none"
      environment_profiles { name: "4gb" } environment_profiles {}
    }
  })pb");
  ModelLoads loads;
  for (const char* environment : {"4gb", "none", "4gb"}) {
    v1::Run run = RunOf("d-1", Load("Q2_K", 100, 4));
    run.set_matrix_environment(environment);
    loads.Add(run, job);
  }
  const std::vector<ComparedModel> compared = loads.Compare();
  ASSERT_EQ(compared.size(), 2);
  EXPECT_EQ(compared[0].comparison.conditions().environment(), "4gb");
  EXPECT_EQ(compared[0].comparison.levels(0).load_count(), 2);
  EXPECT_EQ(compared[1].comparison.conditions().environment(), "");
  EXPECT_EQ(compared[1].comparison.levels(0).load_count(), 1);
}

TEST(ModelLoads, PassesOverWhatHasNotEnded) {
  ModelLoads loads;
  v1::Run run = RunOf("d-1", Load("Q2_K", 100, 4));
  run.set_state(v1::Run::RUNNING);
  loads.Add(run, QuantizationJob());
  loads.Add(RunOf("d-1", "loads { model_id: 'm' quant: 'Q2_K' }"), QuantizationJob());
  EXPECT_THAT(loads.Compare(), IsEmpty());
}

TEST(ModelLoads, WarnsWhereTheCacheWasNotAsAskedFor) {
  ModelLoads loads;
  loads.Add(RunOf("d-1", Load("Q2_K", 100, 4, "found_cache: COLD") + Load("Q2_K", 100, 4, "found_cache: AS_IS")),
            QuantizationJob());
  EXPECT_THAT(loads.CacheWarnings(), ElementsAre(HasSubstr("model m: 1 of 2 loads that asked for COLD")));
}

TEST(FindInversions, NamesASmallerLevelThatIsClearlySlower) {
  const ComparedModel compared = CompareOne({RunOf(
      "d-1", Load("Q2_K", 100, 20) + Load("Q3_K_M", 150, 103) + Load("Q4_0", 200, 10) + Load("Q8_0", 300, 100))});
  EXPECT_THAT(
      FindInversions(compared.comparison, {}),
      ElementsAre("Q2_K (100 B) is slower than the larger Q4_0 (200 B): first pass over after 20.0 s against 10.0 s",
                  HasSubstr("Q3_K_M (150 B) is slower than the larger Q4_0 (200 B)")));
}

TEST(FindInversions, LeavesSmallDifferencesAlone) {
  const ComparedModel compared = CompareOne({RunOf("d-1", Load("Q2_K", 100, 104) + Load("Q4_0", 200, 100))});
  EXPECT_THAT(FindInversions(compared.comparison, {}), IsEmpty());
}

TEST(FindInversions, LooksAtPassesToo) {
  const auto passes = [](int count) {
    return fmt::format("stages {{ kind: PASSES duration {{ seconds: 10 }} pass_count: {} }}", count);
  };
  const ComparedModel compared =
      CompareOne({RunOf("d-1", Load("Q3_K_M", 100, 10, passes(10)) + Load("Q4_0", 200, 11, passes(30)))});
  EXPECT_THAT(FindInversions(compared.comparison, {}), ElementsAre(HasSubstr("1 passes/s against 3")));
}

// What is slower on one device only because the other level was measured on a faster one is none.
TEST(FindInversions, ComparesOnTheSameDevice) {
  EXPECT_THAT(
      FindInversions(CompareOne({RunOf("d-1", Load("Q2_K", 100, 50)), RunOf("d-2", Load("Q4_0", 200, 10))}).comparison,
                     {}),
      IsEmpty());
  const auto device = Parse<v1::Device>("device_id: 'd-2' facts { hostname: 'mini-2' }");
  EXPECT_THAT(FindInversions(CompareOne({RunOf("d-1", Load("Q2_K", 100, 5) + Load("Q4_0", 200, 10)),
                                         RunOf("d-2", Load("Q2_K", 100, 50) + Load("Q4_0", 200, 10))})
                                 .comparison,
                             std::vector{device}),
              ElementsAre(HasSubstr("on 1 of 2 devices: mini-2 (first pass")));
}

}  // namespace
}  // namespace ballast::report
