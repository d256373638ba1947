#include "common/config/field_rules.h"

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ballast/v1/config.pb.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/worker_service.pb.h"

namespace ballast::config {

// For matchers and their messages.
bool operator==(const Violation& a, const Violation& b) {
  return a.field_path == b.field_path && a.problem == b.problem;
}
void PrintTo(const Violation& violation, std::ostream* out) {
  *out << violation.field_path << ": " << violation.problem;
}

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

v1::JobSpec BurstJob() {
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_pressure()->mutable_burst();
  return spec;
}

// A request over gRPC holds messages as they are: this is what stands between them and the rest of the program.
std::vector<Violation> ViolationsOf(v1::JobSpec spec) {
  ApplyDefaults(&spec);
  return FindViolations(spec);
}

TEST(ApplyDefaultsTest, FillsInWhatWasNotGiven) {
  v1::JobSpec spec = BurstJob();
  spec.mutable_workload()->mutable_pressure()->mutable_burst()->set_target_percent(50);
  spec.mutable_workload()->mutable_pressure()->mutable_baseline();  // zero seconds, given
  ApplyDefaults(&spec);
  const v1::PressureWorkload& pressure = spec.workload().pressure();
  EXPECT_EQ(pressure.burst().target_percent(), 50);
  EXPECT_EQ(pressure.burst().duration().seconds(), 5);
  EXPECT_EQ(pressure.baseline().seconds(), 0);
  EXPECT_EQ(pressure.recovery().seconds(), 1);
  EXPECT_EQ(pressure.floor_percent(), 5);
  EXPECT_EQ(pressure.content().kind(), v1::PageContent::RANDOM);
  EXPECT_EQ(spec.repetitions(), 1U);
  EXPECT_EQ(spec.telemetry().sample_interval().nanos(), 100'000'000);
  EXPECT_EQ(spec.policy().expect(), v1::COMPLETED);
  EXPECT_FALSE(spec.policy().has_timeout()) << "a field without a default stays absent";
}

TEST(ApplyDefaultsTest, ChoosesNothing) {
  v1::JobSpec spec;
  spec.mutable_workload();
  ApplyDefaults(&spec);
  EXPECT_EQ(spec.workload().kind_case(), v1::Workload::KIND_NOT_SET);
  EXPECT_FALSE(spec.has_devices());
  spec.mutable_workload()->mutable_model()->mutable_load();
  ApplyDefaults(&spec);
  EXPECT_FALSE(spec.workload().model().has_pressure());
  EXPECT_EQ(spec.workload().model().load().loader(), v1::ModelLoad::MMAP);
}

TEST(ApplyDefaultsTest, ChoosesTheMemberOfAOneofThatHasADefaultWhereNoneWasGiven) {
  v1::BurstPattern burst;
  ApplyDefaults(&burst);
  EXPECT_EQ(burst.target_percent(), 70);
  burst.set_target_bytes(1U << 30U);
  ApplyDefaults(&burst);
  EXPECT_EQ(burst.target_case(), v1::BurstPattern::kTargetBytes);
}

TEST(ApplyDefaultsTest, SecondTimeChangesNothing) {
  v1::JobSpec spec = BurstJob();
  ApplyDefaults(&spec);
  const std::string once = spec.SerializeAsString();
  ApplyDefaults(&spec);
  EXPECT_EQ(spec.SerializeAsString(), once);
}

TEST(FindViolationsTest, AcceptsWhatIsValid) {
  EXPECT_THAT(ViolationsOf(BurstJob()), IsEmpty());
  EXPECT_TRUE(Validate(v1::CoordinatorConfig()).ok() == false);
  v1::CoordinatorConfig config;
  config.set_data_dir("/d");
  ApplyDefaults(&config);
  EXPECT_TRUE(Validate(config).ok()) << Validate(config);
}

TEST(FindViolationsTest, NamesEveryBrokenRule) {
  v1::JobSpec spec = BurstJob();
  spec.set_display_name("two\nlines");
  spec.mutable_workload()->mutable_pressure()->mutable_burst()->set_target_percent(101);
  spec.set_repetitions(10'001);
  spec.mutable_policy()->mutable_lost_after()->set_nanos(1);
  const std::vector<Violation> violations = ViolationsOf(spec);
  EXPECT_THAT(
      violations,
      ElementsAre(Violation{"display_name", "must match the pattern [^\\x00-\\x1f]{0,128}, not be 'two\\nlines'"},
                  Violation{"workload.pressure.burst.target_percent", "must be above 0% and at most 100%, not 101%"},
                  Violation{"repetitions", "must be at least 1 and at most 10000, not 10001"},
                  Violation{"policy.lost_after", "must be at least 1s and at most 365d, not 1ns"}));
  ApplyDefaults(&spec);
  EXPECT_EQ(std::string(Validate(spec).message()),
            "display_name: must match the pattern [^\\x00-\\x1f]{0,128}, not be 'two\\nlines'\n"
            "workload.pressure.burst.target_percent: must be above 0% and at most 100%, not 101%\n"
            "repetitions: must be at least 1 and at most 10000, not 10001\n"
            "policy.lost_after: must be at least 1s and at most 365d, not 1ns");
}

TEST(FindViolationsTest, WhatIsMissing) {
  EXPECT_THAT(ViolationsOf({}), ElementsAre(Violation{"workload", "must be given"}));
  v1::JobSpec spec;
  spec.mutable_workload();
  EXPECT_THAT(ViolationsOf(spec),
              ElementsAre(Violation{"workload.kind",
                                    "is missing; give pressure, model, quantization, stability, capacity or command"}));
  spec.mutable_workload()->mutable_quantization()->mutable_load();
  EXPECT_THAT(ViolationsOf(spec), ElementsAre(Violation{"workload.quantization.load.model_id", "must be given"}));
  spec.mutable_workload()->mutable_pressure()->mutable_trace();
  EXPECT_THAT(ViolationsOf(spec), ElementsAre(Violation{"workload.pressure.trace.points",
                                                        "must have at least 2 and at most 20000 entries, not 0"}));
}

TEST(FindViolationsTest, NumbersThatAreNone) {
  for (const double value : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    v1::JobSpec spec = BurstJob();
    spec.mutable_workload()->mutable_pressure()->mutable_burst()->set_target_percent(value);
    const std::vector<Violation> violations = ViolationsOf(spec);
    ASSERT_EQ(violations.size(), 1U);
    EXPECT_EQ(violations.front().field_path, "workload.pressure.burst.target_percent");
  }
}

TEST(FindViolationsTest, DurationsThatAreNone) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  const std::vector<std::pair<std::int64_t, std::int32_t>> cases = {
      {kMost, 0}, {-kMost, 0}, {1, 1'000'000'000}, {1, -1}, {-1, 1}, {0, std::numeric_limits<std::int32_t>::min()},
      {-1, 0}};
  for (const auto& [seconds, nanos] : cases) {
    v1::JobSpec spec = BurstJob();
    auto* const duration = spec.mutable_workload()->mutable_pressure()->mutable_burst()->mutable_duration();
    duration->set_seconds(seconds);
    duration->set_nanos(nanos);
    const std::vector<Violation> violations = ViolationsOf(spec);
    ASSERT_EQ(violations.size(), 1U) << seconds << " " << nanos;
    EXPECT_EQ(violations.front().field_path, "workload.pressure.burst.duration");
  }
}

TEST(FindViolationsTest, EnumValuesOfALaterVersion) {
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_pressure()->mutable_allocate_full()->set_until(
      static_cast<v1::AllocateFullPattern::Until>(77));
  EXPECT_THAT(ViolationsOf(spec),
              ElementsAre(Violation{"workload.pressure.allocate_full.until", "must be FLOOR or OOM, not 77"}));
}

TEST(FindViolationsTest, EntriesThatMustRise) {
  v1::TracePattern trace;
  for (const int seconds : {0, 2, 2, 1}) {
    v1::TracePoint* const point = trace.add_points();
    point->mutable_offset()->set_seconds(seconds);
    point->set_used_percent(30);
  }
  EXPECT_THAT(FindViolations(trace),
              ElementsAre(Violation{"points[2].offset", "must be above that of the entry before (2s), not 2s"}));
  trace.mutable_points()->DeleteSubrange(2, 2);
  EXPECT_THAT(FindViolations(trace), IsEmpty());
}

TEST(FindViolationsTest, OrderOfTwoFields) {
  v1::JobSpec spec;
  v1::SawtoothPattern* const sawtooth = spec.mutable_workload()->mutable_pressure()->mutable_sawtooth();
  sawtooth->set_min_percent(50);
  sawtooth->set_max_percent(50);
  EXPECT_THAT(ViolationsOf(spec), ElementsAre(Violation{"workload.pressure.sawtooth.min_percent",
                                                        "must be below max_percent (50%), not 50%"}));
  sawtooth->set_max_percent(50.1);
  EXPECT_THAT(ViolationsOf(spec), IsEmpty());
}

TEST(FindViolationsTest, ReachesMessagesInMessages) {
  v1::Assignment assignment;
  *assignment.mutable_spec() = BurstJob();
  assignment.mutable_spec()->set_priority(5000);
  ApplyDefaults(&assignment);
  EXPECT_THAT(FindViolations(assignment),
              ElementsAre(Violation{"spec.priority", "must be at least -1000 and at most 1000, not 5000"}));
}

}  // namespace
}  // namespace ballast::config
