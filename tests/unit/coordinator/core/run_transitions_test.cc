#include "coordinator/core/run_transitions.h"

#include <utility>

#include <gtest/gtest.h>

namespace ballast::core {
namespace {

using std::chrono::seconds;

class RunTransitionsTest : public testing::Test {
 protected:
  // An attempt of a minute that ended so, with cycles up to this one.
  void Attempt(v1::OutcomeKind kind, std::uint32_t last_cycle) {
    v1::Attempt* const attempt = run_.add_attempts();
    attempt->set_attempt(static_cast<std::uint32_t>(run_.attempts_size()));
    attempt->mutable_start_time()->set_seconds(1000);
    attempt->mutable_end_time()->set_seconds(1060);
    attempt->mutable_result()->mutable_outcome()->set_kind(kind);
    if (last_cycle > 0) attempt->mutable_result()->add_cycles()->set_index(last_cycle);
  }
  static v1::JobSpec Soak() {
    v1::JobSpec spec;
    spec.mutable_workload()->mutable_stability();
    return spec;
  }

  v1::Run run_;
};

TEST_F(RunTransitionsTest, OnlyFailuresOfTheInfrastructureAreTriedAgain) {
  v1::JobSpec spec;
  spec.mutable_policy()->set_max_attempts(2);
  Attempt(v1::OOM_KILLED, 0);
  EXPECT_FALSE(MayRetry(run_, spec));
  run_.Clear();
  Attempt(v1::WORKER_CRASHED, 0);
  EXPECT_TRUE(MayRetry(run_, spec));
  Attempt(v1::WORKER_CRASHED, 0);
  EXPECT_FALSE(MayRetry(run_, spec));
}

TEST_F(RunTransitionsTest, ASoakGoesOnAsLongAsItGetsOn) {
  for (std::uint32_t i = 1; i <= 20; ++i) {
    Attempt(i % 2 == 0 ? v1::DEVICE_REBOOTED : v1::WORKER_CRASHED, i * 3);
    EXPECT_TRUE(MayRetry(run_, Soak()));
  }
  Attempt(v1::WORKER_CRASHED, 0);
  Attempt(v1::WORKER_CRASHED, 0);
  EXPECT_TRUE(MayRetry(run_, Soak()));
  Attempt(v1::WORKER_CRASHED, 0);
  EXPECT_FALSE(MayRetry(run_, Soak()));
}

TEST_F(RunTransitionsTest, ASoaksAttemptsAddUp) {
  EXPECT_EQ(SoakSoFar(run_).cycle_count(), 0U);
  Attempt(v1::WORKER_CRASHED, 7);
  Attempt(v1::WORKER_CRASHED, 0);  // killed in its first cycle
  EXPECT_EQ(SoakSoFar(run_).cycle_count(), 7U);
  EXPECT_EQ(base::FromProto(SoakSoFar(run_).elapsed()), seconds(120));
  // One that goes on does not count yet.
  run_.add_attempts()->mutable_start_time()->set_seconds(2000);
  EXPECT_EQ(base::FromProto(SoakSoFar(run_).elapsed()), seconds(120));
}

TEST_F(RunTransitionsTest, ALateEndKeepsItsTimeAndItsClock) {
  v1::Run run;
  Assign(&run);
  GiveUpAttempt(v1::DEVICE_LOST, "away", {}, &run);
  EndRun({}, &run);
  v1::AttemptFinished finished;
  finished.mutable_end_time()->set_seconds(7);
  finished.mutable_clock_offset()->mutable_offset()->set_seconds(41);
  finished.mutable_result()->set_sample_count(3);
  AddLateResult(1, std::move(finished), {}, &run);
  ASSERT_EQ(run.late_results_size(), 1);
  EXPECT_EQ(run.late_results(0).end_time().seconds(), 7);
  EXPECT_EQ(run.late_results(0).clock_offset().offset().seconds(), 41);
  EXPECT_EQ(run.late_results(0).result().sample_count(), 3U);
  EXPECT_EQ(run.outcome().kind(), v1::DEVICE_LOST);
}

}  // namespace
}  // namespace ballast::core
