#include "coordinator/report/figures.h"

#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/metrics/metric_table.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace ballast::report {
namespace {

using metrics::MetricId;
using testing::Contains;
using testing::DoubleEq;
using testing::IsEmpty;
using testing::Key;
using testing::Not;
using testing::Pair;
using testing::UnorderedElementsAre;

using Figures = std::map<std::string, double>;

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message));
  return message;
}

v1::MetricSummary Summary(MetricId id, std::uint64_t count, std::int64_t first, std::int64_t min, std::int64_t max,
                          std::int64_t last) {
  v1::MetricSummary summary;
  summary.set_metric_id(static_cast<std::uint32_t>(id));
  summary.set_count(count);
  summary.set_first(first);
  summary.set_min(min);
  summary.set_max(max);
  summary.set_last(last);
  return summary;
}

// A run whose last attempt has this result (in text format).
v1::Run RunWithResult(const std::string& result) {
  return Parse<v1::Run>(
      "state: ENDED attempts { attempt: 1 start_time { seconds: 1000 } "
      "end_time { seconds: 1010 nanos: 500000000 } result { " +
      result + " } }");
}

Figures Compute(const v1::Run& run, const std::vector<v1::MetricSummary>& rollups = {},
                const std::string& workload = "pressure { burst {} }") {
  Figures figures;
  for (const v1::Figure& figure : ComputeFigures(run, Parse<v1::Workload>(workload), rollups)) {
    figures[figure.name()] = figure.value();
  }
  return figures;
}

TEST(AllFigures, HasNamesWithAUnit) {
  static const std::set<std::string> kUnits = {"bytes", "count", "pages", "percent", "ratio", "second", "seconds"};
  for (const FigureDefinition& figure : AllFigures()) {
    EXPECT_TRUE(kUnits.contains(std::string(figure.name.substr(figure.name.rfind('_') + 1)))) << figure.name;
  }
}

TEST(ComputeFigures, OfARunWithoutAttemptsIsEmpty) {
  EXPECT_THAT(Compute(v1::Run()), IsEmpty());
}

TEST(ComputeFigures, OfAnEmptyResultIsItsDurationAlone) {
  EXPECT_THAT(Compute(RunWithResult("")), UnorderedElementsAre(Pair("duration_seconds", 10.5)));
}

TEST(ComputeFigures, IsOrderedByName) {
  const std::vector<v1::Figure> figures = ComputeFigures(
      RunWithResult("peak_held_bytes: 1 fill_bytes_per_second: 2 sample_count: 3 limit_bytes: 4"), v1::Workload(), {});
  EXPECT_TRUE(std::ranges::is_sorted(figures, std::ranges::less(), &v1::Figure::name));
  EXPECT_EQ(figures.size(), 7);
}

TEST(ComputeFigures, TakesTheLastAttempt) {
  const auto run = Parse<v1::Run>(R"pb(
    attempts {
      attempt: 1
      result { peak_held_bytes: 111 }
    }
    attempts {
      attempt: 2
      result { peak_held_bytes: 222 }
    }
  )pb");
  EXPECT_THAT(Compute(run), Contains(Pair("peak_held_bytes", 222)));
}

TEST(ComputeFigures, LeavesTheDurationOutWhereTheDeviceNeverToldTheEnd) {
  EXPECT_THAT(Compute(Parse<v1::Run>("attempts { start_time { seconds: 5 } end_time { seconds: 9 } }")), IsEmpty());
}

TEST(ComputeFigures, TakesNothingFromTheResultOfAnAttemptThatWasGivenUp) {
  const auto run = Parse<v1::Run>(
      "attempts { given_up: true start_time { seconds: 5 } end_time { seconds: 9 } result { sample_count: 7 } }");
  EXPECT_THAT(Compute(run), IsEmpty());
}

TEST(ComputeFigures, LeavesTheDurationOutWhereTheClockWasSetBack) {
  const auto run = Parse<v1::Run>(
      "attempts { start_time { seconds: 9 } end_time { seconds: 5 } result { observer_cost { cpu_time { seconds: 1 } } "
      "} }");
  EXPECT_THAT(Compute(run), IsEmpty());
}

TEST(ComputeFigures, CopiesWhatTheResultSays) {
  const Figures figures = Compute(RunWithResult(R"pb(
    peak_held_bytes: 1048576
    peak_resident_bytes: 2097152
    time_to_target { seconds: 1 nanos: 250000000 }
    fill_bytes_per_second: 3e9
    limit_bytes: 4294967296
    sample_count: 105
    missed_sample_count: 2
  )pb"));
  EXPECT_THAT(figures, Contains(Pair("peak_held_bytes", 1048576)));
  EXPECT_THAT(figures, Contains(Pair("peak_resident_bytes", 2097152)));
  EXPECT_THAT(figures, Contains(Pair("time_to_target_seconds", 1.25)));
  EXPECT_THAT(figures, Contains(Pair("fill_bytes_per_second", 3e9)));
  EXPECT_THAT(figures, Contains(Pair("limit_bytes", 4294967296)));
  EXPECT_THAT(figures, Contains(Pair("sample_count", 105)));
  EXPECT_THAT(figures, Contains(Pair("missed_sample_count", 2)));
}

TEST(ComputeFigures, TellsTheObserversShareOfOneCore) {
  EXPECT_THAT(Compute(RunWithResult("observer_cost { cpu_time { nanos: 105000000 } }")),
              Contains(Pair("observer_cpu_percent", DoubleEq(1.0))));
}

TEST(ComputeFigures, TellsWhatObservingTookBesidesWhereItWasMeasured) {
  const Figures figures = Compute(
      RunWithResult("observer_cost { pss_bytes: 7340032 minor_faults: 40 major_faults: 2 written_bytes: 65536 }"));
  EXPECT_THAT(figures, Contains(Pair("observer_pss_bytes", 7340032)));
  EXPECT_THAT(figures, Contains(Pair("observer_minor_fault_count", 40)));
  EXPECT_THAT(figures, Contains(Pair("observer_major_fault_count", 2)));
  EXPECT_THAT(figures, Contains(Pair("observer_written_bytes", 65536)));
  EXPECT_THAT(Compute(RunWithResult("observer_cost { cpu_time { seconds: 1 } }")),
              Not(Contains(Key("observer_written_bytes"))));
}

TEST(ComputeFigures, TellsHowQuietTheDeviceWasAndWhatTheGuardDid) {
  const Figures figures = Compute(RunWithResult(R"pb(
    sample_count: 5
    validity {
      remarks { kind: BACKGROUND_CPU value: 3.5 }
      remarks { kind: BACKGROUND_MEMORY value: 1.5 }
      remarks { kind: ZRAM value: 2.25 }
    }
    guard_acts { action: WARNED }
    guard_acts { action: SHRINK_ASKED }
  )pb"));
  EXPECT_THAT(figures, Contains(Pair("background_cpu_percent", 3.5)));
  EXPECT_THAT(figures, Contains(Pair("background_memory_percent", 1.5)));
  EXPECT_THAT(figures, Contains(Pair("zram_ratio", 2.25)));
  EXPECT_THAT(figures, Contains(Pair("guard_act_count", 2)));
}

TEST(ComputeFigures, SumsUpEveryPhaseThatHeldATarget) {
  const Figures figures = Compute(RunWithResult(R"pb(
    phases {
      kind: BASELINE
      end_offset { seconds: 1 }
    }
    phases {
      kind: HOLD
      start_offset { seconds: 2 }
      end_offset { seconds: 4 }
      hold_quality {
        sample_count: 30
        within_half_point_count: 27
        within_one_point_count: 30
        min_percent: 69.25
        max_percent: 70.5
      }
    }
    phases {
      kind: HOLD
      start_offset { seconds: 5 }
      end_offset { seconds: 5 nanos: 500000000 }
      hold_quality {
        sample_count: 10
        within_half_point_count: 3
        within_one_point_count: 5
        min_percent: 68
        max_percent: 70
      }
    }
    phases {
      kind: HOLD
      start_offset { seconds: 9 }
    }
  )pb"));
  EXPECT_THAT(figures, Contains(Pair("hold_seconds", 2.5)));
  EXPECT_THAT(figures, Contains(Pair("hold_within_half_point_percent", 75)));
  EXPECT_THAT(figures, Contains(Pair("hold_within_one_point_percent", 87.5)));
  EXPECT_THAT(figures, Contains(Pair("hold_min_percent", 68)));
  EXPECT_THAT(figures, Contains(Pair("hold_max_percent", 70.5)));
}

TEST(ComputeFigures, JudgesAStallByTheStallAndTellsTheBytesItTook) {
  const Figures figures = Compute(RunWithResult(R"pb(
    phases {
      kind: HOLD
      target_psi { kind: SOME percent: 20 }
      hold_quality {
        sample_count: 40
        min_percent: 96
        max_percent: 99
        min_held_bytes: 3000
        mean_held_bytes: 3500
        max_held_bytes: 4000
        stall { sample_count: 30 within_five_points_count: 27 min_percent: 14 mean_percent: 19 max_percent: 26 }
      }
    }
  )pb"));
  EXPECT_THAT(figures, Contains(Pair("hold_stall_mean_percent", 19)));
  EXPECT_THAT(figures, Contains(Pair("hold_stall_within_five_points_percent", 90)));
  EXPECT_THAT(figures, Contains(Pair("hold_held_mean_bytes", 3500)));
  EXPECT_THAT(figures, Not(Contains(Pair("hold_within_half_point_percent", testing::_))));
}

TEST(ComputeFigures, TellsTheLagOfPressure) {
  EXPECT_THAT(Compute(RunWithResult("sample_count: 5 max_lag_bytes: 4096"), {}, "pressure { sawtooth {} }"),
              Contains(Pair("lag_max_bytes", 4096)));
}

TEST(ComputeFigures, CountsStepsOfAStaircaseAlsoWhereNoneWasReached) {
  const std::string staircase = "pressure { staircase {} }";
  EXPECT_THAT(Compute(RunWithResult("steps { index: 1 } steps { index: 2 }"), {}, staircase),
              Contains(Pair("steps_reached_count", 2)));
  EXPECT_THAT(Compute(RunWithResult(""), {}, staircase), Contains(Pair("steps_reached_count", 0)));
  EXPECT_THAT(Compute(RunWithResult("")), Not(Contains(Key("steps_reached_count"))));
}

TEST(ComputeFigures, TakesExtremesOfGaugesInTheirOwnUnits) {
  const Figures figures = Compute(
      RunWithResult(""),
      {Summary(MetricId::kMemUsedPercent, 9, 20'000, 20'000, 71'250, 30'000),
       Summary(MetricId::kMemAvailableBytes, 9, 900, 300, 950, 800),
       Summary(MetricId::kMemLimitAvailableBytes, 9, 90, 30, 95, 80),
       Summary(MetricId::kPsiMemorySomeAvg10, 9, 0, 0, 1234, 10),
       Summary(MetricId::kPsiMemoryFullAvg10, 9, 0, 0, 56, 10), Summary(MetricId::kPsiIoSomeAvg10, 9, 0, 0, 7, 7),
       Summary(MetricId::kRunnerSwapBytes, 9, 0, 0, 4096, 0), Summary(MetricId::kAgentRssBytes, 9, 1, 1, 8192, 2),
       Summary(MetricId::kSampleDelayUs, 9, 100, 100, 1500, 200)});
  EXPECT_THAT(figures, Contains(Pair("mem_used_max_percent", 71.25)));
  EXPECT_THAT(figures, Contains(Pair("mem_available_min_bytes", 300)));
  EXPECT_THAT(figures, Contains(Pair("limit_available_min_bytes", 30)));
  EXPECT_THAT(figures, Contains(Pair("psi_memory_some_max_percent", 12.34)));
  EXPECT_THAT(figures, Contains(Pair("psi_memory_full_max_percent", 0.56)));
  EXPECT_THAT(figures, Contains(Pair("psi_io_some_max_percent", 0.07)));
  EXPECT_THAT(figures, Contains(Pair("runner_swap_max_bytes", 4096)));
  EXPECT_THAT(figures, Contains(Pair("agent_rss_max_bytes", 8192)));
  EXPECT_THAT(figures, Contains(Pair("sample_delay_max_seconds", 0.0015)));
}

TEST(ComputeFigures, TakesTheRiseOfCounters) {
  const Figures figures =
      Compute(RunWithResult(""),
              {Summary(MetricId::kVmPgmajfaultTotal, 9, 1000, 1000, 1042, 1042),
               Summary(MetricId::kRunnerMajorFaultsTotal, 9, 1, 1, 8, 8),
               Summary(MetricId::kVmPswpinTotal, 9, 5, 5, 7, 7), Summary(MetricId::kVmPswpoutTotal, 9, 5, 5, 8, 8),
               Summary(MetricId::kVmWorkingsetRefaultAnonTotal, 9, 5, 5, 9, 9),
               Summary(MetricId::kVmWorkingsetRefaultFileTotal, 9, 5, 5, 10, 10),
               Summary(MetricId::kVmPgstealDirectTotal, 9, 5, 5, 11, 11),
               Summary(MetricId::kPsiMemorySomeUsTotal, 9, 1'000'000, 1'000'000, 3'500'000, 3'500'000),
               Summary(MetricId::kPsiMemoryFullUsTotal, 9, 0, 0, 250, 250),
               Summary(MetricId::kRunnerCpuMsTotal, 9, 10, 10, 1510, 1510)});
  EXPECT_THAT(figures, Contains(Pair("major_fault_count", 42)));
  EXPECT_THAT(figures, Contains(Pair("runner_major_fault_count", 7)));
  EXPECT_THAT(figures, Contains(Pair("swap_in_pages", 2)));
  EXPECT_THAT(figures, Contains(Pair("swap_out_pages", 3)));
  EXPECT_THAT(figures, Contains(Pair("refault_anon_pages", 4)));
  EXPECT_THAT(figures, Contains(Pair("refault_file_pages", 5)));
  EXPECT_THAT(figures, Contains(Pair("direct_reclaim_pages", 6)));
  EXPECT_THAT(figures, Contains(Pair("psi_memory_some_seconds", 2.5)));
  EXPECT_THAT(figures, Contains(Pair("psi_memory_full_seconds", 0.00025)));
  EXPECT_THAT(figures, Contains(Pair("runner_cpu_seconds", 1.5)));
}

TEST(ComputeFigures, KnowsNoRiseFromOneSampleOrAfterAReset) {
  EXPECT_THAT(Compute(RunWithResult(""), {Summary(MetricId::kVmPgmajfaultTotal, 1, 7, 7, 7, 7)}),
              Not(Contains(Key("major_fault_count"))));
  EXPECT_THAT(Compute(RunWithResult(""), {Summary(MetricId::kVmPgmajfaultTotal, 9, 70, 1, 90, 3)}),
              Not(Contains(Key("major_fault_count"))));
}

TEST(ComputeFigures, SurvivesCountersAtTheEndsOfTheirRange) {
  constexpr std::int64_t kLowest = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kHighest = std::numeric_limits<std::int64_t>::max();
  EXPECT_THAT(
      Compute(RunWithResult(""), {Summary(MetricId::kVmPgmajfaultTotal, 2, kLowest, kLowest, kHighest, kHighest)}),
      Contains(Pair("major_fault_count", DoubleEq(18446744073709551616.0))));
}

TEST(ComputeFigures, TakesTheGreaterOfCountedAndSampledPeaks) {
  const std::vector<v1::MetricSummary> sampled = {Summary(MetricId::kRunnerHeldBytes, 9, 0, 0, 500, 0),
                                                  Summary(MetricId::kRunnerResidentBytes, 9, 0, 0, 600, 0)};
  Figures figures = Compute(RunWithResult("peak_held_bytes: 700 peak_resident_bytes: 400"), sampled);
  EXPECT_THAT(figures, Contains(Pair("peak_held_bytes", 700)));
  EXPECT_THAT(figures, Contains(Pair("peak_resident_bytes", 600)));
  figures = Compute(Parse<v1::Run>("attempts { attempt: 1 }"), sampled);
  EXPECT_THAT(figures, UnorderedElementsAre(Pair("peak_held_bytes", 500), Pair("peak_resident_bytes", 600)));
}

TEST(ComputeFigures, TellsTheMostSwapInUse) {
  EXPECT_THAT(Compute(RunWithResult(""), {Summary(MetricId::kSwapTotalBytes, 9, 1000, 1000, 1000, 1000),
                                          Summary(MetricId::kSwapFreeBytes, 9, 900, 250, 900, 800)}),
              Contains(Pair("swap_used_max_bytes", 750)));
}

TEST(ComputeFigures, LeavesOutWhatIsUnknownOrNoNumber) {
  v1::MetricSummary unknown = Summary(MetricId::kMemUsedPercent, 9, 1, 1, 1, 1);
  unknown.set_metric_id(std::numeric_limits<std::uint32_t>::max());
  EXPECT_THAT(Compute(RunWithResult("fill_bytes_per_second: inf"),
                      {unknown, Summary(MetricId::kMemAvailableBytes, 0, 0, 0, 0, 0)}),
              UnorderedElementsAre(Key("duration_seconds")));
}

}  // namespace
}  // namespace ballast::report
