// What the guard does to real runs, in a memory cgroup with a limit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <iostream>
#include <optional>

#include "tests/unit/worker/agent/limited_group_fixture.h"
#include "worker/runner/runner_process.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kLimit = 512 * kMiB;
constexpr std::uint64_t kHeldMib = 440;
constexpr milliseconds kPromised(100);  // from the reading to the beginning of the release

#ifdef BALLAST_THREAD_SANITIZER
constexpr bool kOwnMemoryFits = false;
#else
constexpr bool kOwnMemoryFits = true;
#endif

class GuardedRunTest : public LimitedGroupFixture {
 protected:
  GuardedRunTest() : LimitedGroupFixture(kLimit) {}

  void SetUp() override {
    if (!kOwnMemoryFits) GTEST_SKIP() << "what the group uses is mostly the sanitizer's";
    LimitedGroupFixture::SetUp();
  }

  v1::RunResult Execute(const v1::Assignment& assignment) {
    OpenSpool();
    const auto control = RunControl::Create().value();
    EXPECT_FALSE(RunExecutor(options_, spool_.get()).Execute(assignment, control.get(), this).has_value());
    Flush();
    for (const v1::Record& record : ReadAll()) {
      if (!record.has_chunk()) continue;
      const metrics::DecodedChunk chunk = metrics::DecodeChunk(record.chunk()).value();
      events_.insert(events_.end(), chunk.events.begin(), chunk.events.end());
      rows_.insert(rows_.end(), chunk.rows.begin(), chunk.rows.end());
    }
    return ReadAll().back().finished().result();
  }

  // A run that holds so much until something ends it, and does not follow what others do.
  [[nodiscard]] v1::Assignment Holding(std::uint64_t mib) const { return Staircase(1, std::chrono::hours(1), mib); }

  // Once the run holds its memory.
  void WhenHolding(std::uint64_t mib, const std::function<void()>& then) {
    on_progress_ = [this, mib, then](const v1::RunProgress& progress) {
      // A neighbour that nobody listens to would stop to grow.
      std::vector<v1::RunnerReport> unread;
      if (neighbour_) (void)neighbour_->ReadReports(&unread);
      if (neighbour_ || progress.held_bytes() < mib * kMiB) return;
      then();
    };
  }

  // Another process in the group, which takes all that is left, step by step.
  void StartNeighbour() {
    v1::RunnerStart start;
    v1::PressureWorkload* const pressure = start.mutable_workload()->mutable_pressure();
    pressure->set_floor_percent(0.1);
    pressure->mutable_content()->set_kind(v1::PageContent::ZERO);
    pressure->mutable_staircase()->set_step_size_bytes(2 * kMiB);
    *pressure->mutable_staircase()->mutable_interval() = base::ToProto(milliseconds(100));
    pressure->mutable_staircase()->set_steps(1000);
    start.set_start_monotonic_ns(base::RealClock().Monotonic().count());
    auto neighbour = runner::RunnerProcess::Start(options_.runner_program, start);
    ASSERT_TRUE(neighbour.ok()) << neighbour.status();
    neighbour_.emplace(*std::move(neighbour));
  }

  static std::vector<v1::GuardAct::Action> Actions(const v1::RunResult& result) {
    std::vector<v1::GuardAct::Action> actions;
    for (const v1::GuardAct& act : result.guard_acts()) {
      if (act.action() != v1::GuardAct::WARNED) actions.push_back(act.action());
    }
    return actions;
  }

  std::optional<runner::RunnerProcess> neighbour_;
  std::vector<v1::Event> events_;
  std::vector<metrics::SampleRow> rows_;
};

TEST_F(GuardedRunTest, ANeighbourThatTakesTheRestMakesTheLoadSmallerAndThenEndsIt) {
  WhenHolding(kHeldMib, [this] { StartNeighbour(); });
  const v1::RunResult result = Execute(Holding(kHeldMib));
  neighbour_.reset();

  const v1::Outcome& outcome = result.outcome();
  EXPECT_EQ(outcome.kind(), v1::GUARD_STOPPED) << outcome.message();
  EXPECT_EQ(outcome.evidence().killer(), v1::GUARD);
  EXPECT_EQ(outcome.evidence().signal(), 0) << "the runner released by itself";
  EXPECT_THAT(outcome.message(), HasSubstr("available"));
  EXPECT_GT(outcome.evidence().last_samples().offset_ms_size(), 10);
  EXPECT_THAT(Actions(result), ElementsAre(v1::GuardAct::SHRINK_ASKED, v1::GuardAct::RELEASE_ASKED));
  for (const v1::GuardAct& act : result.guard_acts()) {
    EXPECT_EQ(act.signal(), v1::GuardAct::AVAILABLE_MEMORY);
    EXPECT_NEAR(act.threshold(), kLimit * 0.025, 1);
    if (act.action() == v1::GuardAct::WARNED) continue;
    EXPECT_LT(act.value(), act.threshold());
    ASSERT_TRUE(act.has_reaction());
    const std::chrono::nanoseconds reaction = base::FromProto(act.reaction());
    std::cout << v1::GuardAct::Action_Name(act.action()) << ": " << std::chrono::duration<double, std::milli>(reaction)
              << " from the reading to the release\n";
    EXPECT_LE(reaction, kPromised);
  }
  // Each act is an event too, with its reading in words.
  std::vector<std::string> told;
  for (const v1::Event& event : events_) {
    if (event.kind() == v1::Event::GUARD_ACTED) told.push_back(event.message());
  }
  EXPECT_EQ(static_cast<int>(told.size()), result.guard_acts_size());
  EXPECT_THAT(told, Contains(HasSubstr("asked the load to give back")));
  EXPECT_THAT(told, Contains(HasSubstr("asked the load to release all")));
}

// Shared memory is the process's until it is unmapped, and the system's until its file is shorter: in between it is
// neither swapped out, nor somebody else's, nor stuck.
TEST_F(GuardedRunTest, SharedMemoryThatGoesBackIsSeenToGo) {
  v1::Assignment assignment = Holding(kHeldMib);
  assignment.mutable_spec()->mutable_workload()->mutable_pressure()->set_memory_kind(v1::SHARED);
  WhenHolding(kHeldMib, [this] { StartNeighbour(); });
  const v1::RunResult result = Execute(assignment);
  neighbour_.reset();
  EXPECT_EQ(result.outcome().kind(), v1::GUARD_STOPPED) << result.outcome().message();
  EXPECT_THAT(Actions(result), ElementsAre(v1::GuardAct::SHRINK_ASKED, v1::GuardAct::RELEASE_ASKED));
}

TEST_F(GuardedRunTest, SharedMemoryIsTheRunsOwnWhileItGoesBack) {
  v1::Assignment assignment = Staircase(1, milliseconds(200), kHeldMib);
  assignment.mutable_spec()->mutable_workload()->mutable_pressure()->set_memory_kind(v1::SHARED);
  const v1::RunResult result = Execute(assignment);
  EXPECT_EQ(result.outcome().kind(), v1::COMPLETED) << result.outcome().message();
  for (const v1::ValidityRemark& remark : result.validity().remarks()) {
    EXPECT_FALSE(remark.kind() == v1::ValidityRemark::BACKGROUND_MEMORY && remark.disqualifies()) << remark.message();
  }
  const auto at = [](const metrics::SampleRow& row, metrics::MetricId id) { return row[metrics::IndexOf(id)]; };
  ASSERT_FALSE(rows_.empty());
  for (const metrics::SampleRow& row : rows_) {
    if (at(row, metrics::MetricId::kRunnerSwapBytes) == metrics::kAbsent) continue;
    EXPECT_LE(at(row, metrics::MetricId::kRunnerSwapBytes),
              at(row, metrics::MetricId::kSwapTotalBytes) - at(row, metrics::MetricId::kSwapFreeBytes));
  }
}

TEST_F(GuardedRunTest, ALoadThatWasMadeSmallerGoesOnAndSaysSo) {
  WhenHolding(kHeldMib, [this] { StartNeighbour(); });
  // The neighbour wants no more than what the first shrink gives it.
  on_progress_ = [this, listen = on_progress_](const v1::RunProgress& progress) {
    listen(progress);
    if (neighbour_ && progress.held_bytes() < kHeldMib * kMiB) ::kill(neighbour_->pid(), SIGSTOP);
  };
  const v1::RunResult result = Execute(Staircase(1, seconds(5), kHeldMib));
  neighbour_.reset();
  EXPECT_EQ(result.outcome().kind(), v1::COMPLETED) << result.outcome().message();
  EXPECT_THAT(Actions(result), ElementsAre(v1::GuardAct::SHRINK_ASKED));
  EXPECT_THAT(result.outcome().message(), HasSubstr("the guard had it give back"));
}

TEST_F(GuardedRunTest, ARunnerThatDoesNotAnswerIsKilled) {
  WhenHolding(kHeldMib, [this] {
    const std::vector<pid_t> runners = RunnersOfThisProcess();
    ASSERT_EQ(runners.size(), 1U);
    ASSERT_EQ(::kill(runners.front(), SIGSTOP), 0);
    StartNeighbour();
  });
  const v1::RunResult result = Execute(Holding(kHeldMib));
  neighbour_.reset();
  EXPECT_EQ(result.outcome().kind(), v1::GUARD_STOPPED) << result.outcome().message();
  EXPECT_EQ(result.outcome().evidence().killer(), v1::GUARD);
  EXPECT_EQ(result.outcome().evidence().signal(), SIGKILL);
  EXPECT_THAT(result.outcome().message(), HasSubstr("killed"));
  EXPECT_THAT(Actions(result),
              ElementsAre(v1::GuardAct::SHRINK_ASKED, v1::GuardAct::RELEASE_ASKED, v1::GuardAct::KILLED));
  for (const v1::GuardAct& act : result.guard_acts()) EXPECT_FALSE(act.has_reaction());
}

// Programs whose files have no room left beside the load: they are read, dropped and read again, without an end and
// without an OOM kill.
TEST_F(GuardedRunTest, ALoadThatMakesTheDeviceThrashIsEnded) {
  const std::string file = (directory_ / "programs").string();
  {
    std::ofstream out(file);
    const std::string block(kMiB, 'x');
    for (int i = 0; i < 200; ++i) out << block;
  }
  v1::Assignment assignment = Holding(1);
  v1::PressureWorkload* const pressure = assignment.mutable_spec()->mutable_workload()->mutable_pressure();
  pressure->set_floor_percent(1);
  pressure->mutable_burst()->set_target_percent(92);
  *pressure->mutable_burst()->mutable_duration() = base::ToProto(seconds(60));
  // Before the kernel loses its patience and OOM-kills the runner at the limit; and also where the programs wait for a
  // processor more than for memory.
  assignment.mutable_spec()->mutable_guard()->set_max_psi_full_percent(8);
  *assignment.mutable_spec()->mutable_guard()->mutable_patience() = base::ToProto(milliseconds(300));
  std::optional<base::ChildProcess> programs;
  WhenHolding(kHeldMib, [&] {
    if (programs) return;
    base::ChildOptions options;
    options.argv = {"/bin/sh", "-c", fmt::format("while :; do cat '{0}' > /dev/null; done", file)};
    options.parent_death_signal = SIGKILL;
    programs = base::ChildProcess::Start(options).value();
  });
  const v1::RunResult result = Execute(assignment);
  programs.reset();
  EXPECT_EQ(result.outcome().kind(), v1::GUARD_STOPPED) << result.outcome().message();
  EXPECT_EQ(result.outcome().evidence().killer(), v1::GUARD);
  // A runner that thrashes as well may be too slow for the release: then it is killed after all.
  EXPECT_THAT(Actions(result), Contains(v1::GuardAct::RELEASE_ASKED));
}

TEST_F(GuardedRunTest, AGuardThatIsOffLeavesTheDeviceOnItsOwn) {
  v1::Assignment assignment = Holding(kHeldMib);
  assignment.mutable_spec()->mutable_guard()->set_mode(v1::GuardSpec::OFF);
  *assignment.mutable_spec()->mutable_policy()->mutable_timeout() = base::ToProto(seconds(4));
  WhenHolding(kHeldMib, [this] { StartNeighbour(); });
  const v1::RunResult result = Execute(assignment);
  neighbour_.reset();
  EXPECT_NE(result.outcome().kind(), v1::GUARD_STOPPED);
  EXPECT_EQ(result.guard_acts_size(), 0);
}

// What runs ordinarily do, the guard has nothing against.
class OrdinaryRunTest : public GuardedRunTest {
 protected:
  void ExpectLeftAlone(const v1::Assignment& assignment) {
    const v1::RunResult result = Execute(assignment);
    EXPECT_EQ(result.outcome().kind(), v1::COMPLETED) << result.outcome().message();
    EXPECT_GT(result.peak_held_bytes(), kLimit / 2);
    EXPECT_THAT(Actions(result), ElementsAre());
  }
  v1::Assignment assignment_ = Staircase(100, milliseconds(60), 8);
  v1::PressureWorkload* const pressure_ = assignment_.mutable_spec()->mutable_workload()->mutable_pressure();
};

TEST_F(OrdinaryRunTest, AStaircaseToTheFloor) {
  ExpectLeftAlone(assignment_);
}

TEST_F(OrdinaryRunTest, AllocatingDownToTheFloor) {
  pressure_->mutable_allocate_full()->set_until(v1::AllocateFullPattern::FLOOR);
  *pressure_->mutable_allocate_full()->mutable_hold() = base::ToProto(seconds(4));
  ExpectLeftAlone(assignment_);
}

TEST_F(OrdinaryRunTest, ABurstOfNinetyPercent) {
  pressure_->mutable_burst()->set_target_percent(90);
  *pressure_->mutable_burst()->mutable_duration() = base::ToProto(seconds(4));
  ExpectLeftAlone(assignment_);
}

}  // namespace
}  // namespace ballast::agent
