#include "worker/agent/run_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <set>
#include <thread>
#include <tuple>

#include "tests/unit/worker/agent/run_fixture.h"
#include "worker/agent/device_facts.h"
#include "worker/agent/frame.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::HasSubstr;
using testing::SizeIs;

constexpr std::uint64_t kMib = 1U << 20U;

class RunExecutorTest : public RunFixture {
 protected:
  // Carries an assignment out and returns its result, after checking the shape of its log.
  v1::RunResult Run(const v1::Assignment& assignment) {
    if (!spool_) OpenSpool();
    RunExecutor executor(options_, spool_.get());
    const auto rejected = executor.Execute(assignment, control_.get(), this);
    if (rejected) {
      ADD_FAILURE() << rejected->reason();
      return {};
    }
    EXPECT_TRUE(ChildrenOfThisProcess().empty());
    Flush();
    records_ = ReadAll();
    if (records_.size() < 2 || !records_.front().has_started() || !records_.back().has_finished()) {
      ADD_FAILURE() << "the log has no beginning or no end";
      return {};
    }
    for (std::size_t i = 0; i < records_.size(); ++i) {
      EXPECT_EQ(records_[i].seq(), i + 1);
      EXPECT_TRUE(records_[i].has_chunk() || i == 0 || i + 1 == records_.size());
    }
    return records_.back().finished().result();
  }

  std::optional<v1::AssignmentRejected> Refuse(const v1::Assignment& assignment) {
    OpenSpool();
    RunExecutor executor(options_, spool_.get());
    auto rejected = executor.Execute(assignment, control_.get(), this);
    EXPECT_TRUE(spool_->Held().empty()) << "a refused attempt has no log";
    return rejected;
  }

  metrics::DecodedChunk AllChunks() {
    metrics::DecodedChunk all;
    for (const v1::Record& record : records_) {
      if (!record.has_chunk()) continue;
      const absl::StatusOr<metrics::DecodedChunk> chunk = metrics::DecodeChunk(record.chunk());
      if (!chunk.ok()) {
        ADD_FAILURE() << chunk.status();
        continue;
      }
      all.offsets.insert(all.offsets.end(), chunk->offsets.begin(), chunk->offsets.end());
      all.rows.insert(all.rows.end(), chunk->rows.begin(), chunk->rows.end());
      all.events.insert(all.events.end(), chunk->events.begin(), chunk->events.end());
    }
    return all;
  }

  // From the first progress of a run on, which is when its runner exists.
  void OnFirstProgress(std::function<void()> action) {
    on_progress_ = [action = std::move(action), done = false](const v1::RunProgress& progress) mutable {
      if (done || progress.held_bytes() == 0) return;
      done = true;
      action();
    };
  }

  std::unique_ptr<RunControl> control_ = RunControl::Create().value();
  std::vector<v1::Record> records_;
};

TEST_F(RunExecutorTest, AStaircaseFromBeginningToEnd) {
  options_.chunk_interval = milliseconds(150);
  std::vector<v1::RunProgress> progress;
  on_progress_ = [&progress](const v1::RunProgress& now) { progress.push_back(now); };
  const v1::RunResult result = Run(Staircase(3, milliseconds(100), 8));
  EXPECT_EQ(result.outcome().kind(), v1::COMPLETED) << result.outcome().message();
  ASSERT_EQ(result.steps_size(), 3);
  EXPECT_EQ(result.steps(2).held_bytes(), 24 * kMib);
  EXPECT_EQ(result.peak_held_bytes(), 24 * kMib);
  EXPECT_GE(result.peak_resident_bytes(), 24 * kMib);
  EXPECT_GT(result.fill_bytes_per_second(), 0);
  EXPECT_GT(result.limit_bytes(), 0U);
  EXPECT_FALSE(result.limit_source().empty());
  EXPECT_GT(base::FromProto(result.observer_cost().cpu_time()).count(), 0);
  EXPECT_GT(result.observer_cost().pss_bytes(), kMib);
  EXPECT_GT(result.validity().remarks_size(), 0) << "how busy others were is always said";
  ASSERT_GE(result.phases_size(), 4);
  for (const v1::Phase& phase : result.phases()) EXPECT_TRUE(phase.has_end_offset());
  EXPECT_EQ(result.outcome().evidence().killer(), v1::KILLER_UNSPECIFIED);
  EXPECT_FALSE(result.outcome().evidence().has_last_samples()) << "nothing to prove";
  EXPECT_EQ(result.outcome().evidence().start_boot_id(), result.outcome().evidence().end_boot_id());

  EXPECT_GT(records_.size(), 4U) << "several chunks";
  const metrics::DecodedChunk all = AllChunks();
  EXPECT_EQ(all.rows.size(), result.sample_count());
  EXPECT_GE(result.sample_count() + result.missed_sample_count(), 400 / 20);
  EXPECT_TRUE(std::ranges::is_sorted(all.offsets));
  std::set<std::int64_t> held;
  for (const metrics::SampleRow& row : all.rows)
    held.insert(row[metrics::IndexOf(metrics::MetricId::kRunnerHeldBytes)]);
  EXPECT_TRUE(held.contains(static_cast<std::int64_t>(16 * kMib)));
  const auto reached = std::ranges::count(all.events, v1::Event::STEP_REACHED, &v1::Event::kind);
  EXPECT_EQ(reached, 3);

  ASSERT_FALSE(progress.empty());
  EXPECT_EQ(progress.back().run_id(), key_.run_id);
  EXPECT_GT(progress.back().used_percent(), 0);
  EXPECT_TRUE(std::ranges::any_of(progress, [](const v1::RunProgress& now) { return now.held_bytes() >= 16 * kMib; }));
  EXPECT_TRUE(std::ranges::any_of(progress, [](const v1::RunProgress& now) { return now.has_planned(); }));
}

TEST_F(RunExecutorTest, TheBeginningIsOnDiskBeforeTheRunnerExists) {
  UseScript(fmt::format("wc -c < '{}' > '{}'; exit 3", (AttemptDirectory(key_) / SegmentFileName(1)).string(),
                        (directory_ / "seen").string()));
  const v1::RunResult result = Run(LongRun());
  EXPECT_EQ(result.outcome().kind(), v1::WORKER_CRASHED);
  EXPECT_EQ(result.outcome().evidence().killer(), v1::SELF);
  EXPECT_EQ(result.outcome().evidence().exit_code(), 3);
  EXPECT_GT(std::stoul(base::ReadFile(directory_ / "seen").value_or("0")), kFrameHeaderBytes);
}

TEST_F(RunExecutorTest, ACancellationEndsTheRunnerWithinASecond) {
  std::chrono::nanoseconds asked{0};
  OnFirstProgress([&] {
    asked = base::RealClock().Monotonic();
    control_->RequestEnd({v1::CANCELLED, "a user does not want it any more"});
  });
  const v1::RunResult result = Run(LongRun());
  EXPECT_LT(base::RealClock().Monotonic() - asked, seconds(1));
  EXPECT_EQ(result.outcome().kind(), v1::CANCELLED);
  EXPECT_EQ(result.outcome().message(), "a user does not want it any more");
  EXPECT_EQ(result.outcome().evidence().killer(), v1::AGENT);
}

TEST_F(RunExecutorTest, ARunnerThatDoesNotListenIsKilled) {
  UseScript("exec sleep 1000");
  control_->RequestEnd({v1::CANCELLED, "at once"});
  const std::chrono::nanoseconds begin = base::RealClock().Monotonic();
  const v1::RunResult result = Run(LongRun());
  EXPECT_LT(base::RealClock().Monotonic() - begin, seconds(1));
  EXPECT_EQ(result.outcome().kind(), v1::CANCELLED);
  EXPECT_EQ(result.outcome().evidence().signal(), SIGKILL);
  EXPECT_EQ(result.outcome().evidence().killer(), v1::AGENT);
}

TEST_F(RunExecutorTest, WhatTheRunnerStartedGoesWithIt) {
  UseScript(fmt::format("sleep 1000 & echo $! > '{}'; exit 0", (directory_ / "grandchild").string()));
  const v1::RunResult result = Run(LongRun());
  EXPECT_EQ(result.outcome().kind(), v1::WORKER_CRASHED) << "it exited without a word";
  const int grandchild = std::stoi(base::ReadFile(directory_ / "grandchild").value());
  // Killed with its group; its parent is init, which reaps it when it gets to it.
  const auto stat = base::ReadFile(fmt::format("/proc/{}/stat", grandchild));
  EXPECT_TRUE(!stat.ok() || os::ParseProcessStat(*stat)->state == 'Z' || os::ParseProcessStat(*stat)->state == 'X');
}

TEST_F(RunExecutorTest, ARunThatTakesTooLongIsTimedOut) {
  v1::Assignment assignment = LongRun();
  *assignment.mutable_spec()->mutable_policy()->mutable_timeout() = base::ToProto(milliseconds(300));
  const v1::RunResult result = Run(assignment);
  EXPECT_EQ(result.outcome().kind(), v1::TIMED_OUT);
  EXPECT_THAT(result.outcome().message(), HasSubstr("300 ms"));
  EXPECT_EQ(result.outcome().evidence().killer(), v1::AGENT);
}

TEST_F(RunExecutorTest, ARunnerKilledByWhoeverEndsWithEvidence) {
  OnFirstProgress([] {
    for (const pid_t runner : RunnersOfThisProcess()) ::kill(runner, SIGKILL);
  });
  const v1::RunResult result = Run(LongRun());
  const v1::Evidence& evidence = result.outcome().evidence();
  EXPECT_EQ(result.outcome().kind(), v1::WORKER_CRASHED);
  EXPECT_EQ(evidence.killer(), v1::UNKNOWN);
  EXPECT_EQ(evidence.signal(), SIGKILL);
  EXPECT_GT(evidence.held_bytes(), 0U);  // as it was when it was last heard, perhaps in the middle of its step
  EXPECT_LE(evidence.held_bytes(), 4 * kMib);
  EXPECT_GT(evidence.last_samples().offset_ms_size(), 1);
  EXPECT_EQ(evidence.cgroup_oom_kill_count(), 0U);
  EXPECT_FALSE(result.phases(result.phases_size() - 1).has_end_offset()) << "it was cut off in this phase";
}

TEST_F(RunExecutorTest, ATerminationByAnOomDaemonIsItsKill) {
  // A shell under the daemon's name: the runner sees what it would see of the daemon.
  std::filesystem::copy_file("/bin/sh", directory_ / "earlyoom");
  base::ChildProcess daemon;
  OnFirstProgress([&] {
    base::ChildOptions options;
    options.argv = {(directory_ / "earlyoom").string(), "-c",
                    fmt::format("kill -TERM {}; read stay", RunnersOfThisProcess().at(0))};
    daemon = base::ChildProcess::Start(options).value();
  });
  v1::Assignment assignment = LongRun();
  *assignment.mutable_spec()->mutable_policy()->mutable_timeout() = base::ToProto(seconds(20));
  OpenSpool();
  ASSERT_FALSE(RunExecutor(options_, spool_.get()).Execute(assignment, control_.get(), this).has_value());
  Flush();
  const v1::RunResult result = ReadAll().back().finished().result();
  const v1::Evidence& evidence = result.outcome().evidence();
  EXPECT_EQ(result.outcome().kind(), v1::OOM_KILLED) << result.outcome().message();
  EXPECT_EQ(evidence.killer(), v1::USERSPACE_OOM_DAEMON);
  EXPECT_EQ(evidence.signal_sender().pid(), daemon.pid());
  EXPECT_EQ(evidence.signal_sender().command(), "earlyoom");
  EXPECT_THAT(evidence.oom_daemons(), Contains("earlyoom"));
  EXPECT_THAT(evidence.findings(), Contains(HasSubstr("SIGTERM came from earlyoom")));
  EXPECT_TRUE(result.phases(result.phases_size() - 1).has_end_offset()) << "it ended in order";
}

TEST_F(RunExecutorTest, ATerminationByWhoeverNamesItsSender) {
  OnFirstProgress([] { ::kill(RunnersOfThisProcess().at(0), SIGTERM); });
  const v1::RunResult result = Run(LongRun());
  EXPECT_EQ(result.outcome().kind(), v1::WORKER_CRASHED);
  EXPECT_EQ(result.outcome().evidence().killer(), v1::UNKNOWN);
  EXPECT_EQ(result.outcome().evidence().signal_sender().pid(), ::getpid());
  EXPECT_THAT(result.outcome().message(), HasSubstr(fmt::format("(pid {})", ::getpid())));
}

TEST_F(RunExecutorTest, ACrashIsTheRunnersOwn) {
  UseScript("kill -SEGV $$");
  const v1::RunResult result = Run(LongRun());
  EXPECT_EQ(result.outcome().kind(), v1::WORKER_CRASHED);
  EXPECT_EQ(result.outcome().evidence().killer(), v1::SELF);
  EXPECT_EQ(result.outcome().evidence().signal(), SIGSEGV);
}

TEST_F(RunExecutorTest, ARunnerThatTalksNonsenseIsEnded) {
  UseScript("head -c 4096 /dev/zero | tr '\\0' '\\377' >&3; exec sleep 1000");
  const v1::RunResult result = Run(LongRun());
  EXPECT_EQ(result.outcome().kind(), v1::WORKER_CRASHED) << result.outcome().message();
  EXPECT_EQ(result.outcome().evidence().killer(), v1::SELF);
}

TEST_F(RunExecutorTest, AProgramThatIsNotThereIsAResultToo) {
  options_.runner_program = (directory_ / "missing").string();
  const v1::RunResult result = Run(LongRun());
  EXPECT_EQ(result.outcome().kind(), v1::WORKER_CRASHED);
  EXPECT_THAT(result.outcome().message(), HasSubstr("missing"));
}

TEST_F(RunExecutorTest, ARunGoesOnWithoutRoomForItsSamplesAndSaysSo) {
  OpenSpool({.directory = {}, .quota_bytes = 100});
  const v1::RunResult result = Run(Staircase(2, milliseconds(50)));
  EXPECT_EQ(result.outcome().kind(), v1::COMPLETED);
  EXPECT_THAT(result.outcome().message(), HasSubstr("samples are lost"));
  EXPECT_THAT(result.outcome().message(), HasSubstr("quota"));
  EXPECT_THAT(records_, SizeIs(2));
}

TEST_F(RunExecutorTest, WhatWouldBeLostWithTheProcessIsInADraft) {
  options_.draft_interval = milliseconds(50);
  std::optional<AttemptFiles> files;
  on_progress_ = [&](const v1::RunProgress& progress) {
    if (files || progress.elapsed().seconds() < 1) return;
    files = ReadAttemptFiles(&RealSpoolDisk(), AttemptDirectory(key_), key_).value();
    control_->RequestEnd({v1::CANCELLED, "seen"});
  };
  Run(LongRun());
  ASSERT_TRUE(files.has_value());
  ASSERT_TRUE(files->draft_chunk.has_value()) << "no chunk is complete after a second";
  ASSERT_TRUE(files->draft_result.has_value());
  EXPECT_GT(files->draft_chunk->chunk().header().sample_count(), 10U);
  EXPECT_GT(files->draft_chunk->chunk().header().event_count(), 0U);
  EXPECT_GE(base::FromProto(files->draft_chunk->chunk().header().end_offset()), milliseconds(500));
  EXPECT_EQ(files->draft_result->steps_size(), 1);
  EXPECT_EQ(files->draft_result->peak_held_bytes(), 4 * kMib);
  EXPECT_GT(files->draft_result->validity().remarks_size(), 0);
}

v1::Phase PhaseOf(const v1::RunResult& result, v1::Phase::Kind kind) {
  const auto found = std::ranges::find(result.phases(), kind, &v1::Phase::kind);
  return found == result.phases().end() ? v1::Phase() : *found;
}

bool HasRemark(const v1::RunResult& result, v1::ValidityRemark::Kind kind) {
  const auto& remarks = result.validity().remarks();
  return std::ranges::find(remarks, kind, &v1::ValidityRemark::kind) != remarks.end();
}

TEST_F(RunExecutorTest, WaitsForAQuietDeviceAndThenBegins) {
  v1::Assignment assignment = Staircase(2, milliseconds(50));
  v1::ValiditySpec* const validity = assignment.mutable_spec()->mutable_validity();
  *validity->mutable_settle() = base::ToProto(std::chrono::seconds(8));  // a busy machine uses all of it up
  validity->set_max_background_cpu_percent(100);  // half of that is quiet; a build beside this test may not be
  validity->set_max_background_memory_percent(100);
  const v1::RunResult result = Run(assignment);
  EXPECT_EQ(result.outcome().kind(), v1::COMPLETED) << result.outcome().message();
  const v1::Phase settle = PhaseOf(result, v1::Phase::SETTLE);
  ASSERT_TRUE(settle.has_end_offset());
  if (!HasRemark(result, v1::ValidityRemark::NOT_SETTLED)) {
    EXPECT_GE(base::FromProto(settle.end_offset()), milliseconds(2900)) << "a window of quiet";
  }
  EXPECT_EQ(result.phases(1).kind(), v1::Phase::BASELINE);
  EXPECT_EQ(base::FromProto(result.phases(1).start_offset()), base::FromProto(settle.end_offset()));
  const metrics::DecodedChunk all = AllChunks();
  EXPECT_GT(
      std::ranges::count_if(all.offsets, [&](auto offset) { return offset < base::FromProto(settle.end_offset()); }),
      10)
      << "sampling goes on meanwhile";
  ASSERT_FALSE(all.events.empty());
  EXPECT_EQ(all.events[0].kind(), v1::Event::PHASE_STARTED);
  EXPECT_EQ(all.events[0].message(), "SETTLE");
}

TEST_F(RunExecutorTest, ADeviceThatDoesNotBecomeQuietMakesTheRunInvalid) {
  v1::Assignment assignment = Staircase(2, milliseconds(50));
  v1::ValiditySpec* const validity = assignment.mutable_spec()->mutable_validity();
  *validity->mutable_settle() = base::ToProto(milliseconds(400));
  validity->set_max_background_cpu_percent(1e-9);  // less than this test itself takes
  std::jthread busy([](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
    }
  });
  const v1::RunResult result = Run(assignment);
  EXPECT_EQ(result.outcome().kind(), v1::COMPLETED) << "it is carried out all the same";
  EXPECT_TRUE(HasRemark(result, v1::ValidityRemark::NOT_SETTLED));
  EXPECT_FALSE(result.validity().valid());
  EXPECT_GE(base::FromProto(PhaseOf(result, v1::Phase::SETTLE).end_offset()), milliseconds(400));
}

TEST_F(RunExecutorTest, AWishToEndComesThroughWhileTheDeviceSettles) {
  v1::Assignment assignment = LongRun();
  *assignment.mutable_spec()->mutable_validity()->mutable_settle() = base::ToProto(std::chrono::hours(1));
  assignment.mutable_spec()->mutable_validity()->set_max_background_cpu_percent(1e-9);
  UseScript("exit 9");  // a runner would crash the run
  on_progress_ = [&](const v1::RunProgress& progress) {
    if (progress.phase() == v1::Phase::SETTLE) control_->RequestEnd({v1::CANCELLED, "a user cancelled it"});
  };
  const v1::RunResult result = Run(assignment);
  EXPECT_EQ(result.outcome().kind(), v1::CANCELLED);
  EXPECT_EQ(result.outcome().message(), "a user cancelled it");
  EXPECT_EQ(result.outcome().evidence().killer(), v1::KILLER_UNSPECIFIED) << "nothing was killed";
}

TEST_F(RunExecutorTest, TheTimeoutCountsTheTimeOfSettling) {
  v1::Assignment assignment = LongRun();
  *assignment.mutable_spec()->mutable_validity()->mutable_settle() = base::ToProto(std::chrono::hours(1));
  assignment.mutable_spec()->mutable_validity()->set_max_background_cpu_percent(1e-9);
  *assignment.mutable_spec()->mutable_policy()->mutable_timeout() = base::ToProto(milliseconds(300));
  EXPECT_EQ(Run(assignment).outcome().kind(), v1::TIMED_OUT);
}

TEST_F(RunExecutorTest, RefusesWhatTheDeviceCannotDo) {
  v1::Assignment assignment = LongRun();
  assignment.mutable_spec()->mutable_workload()->mutable_pressure()->mutable_staircase()->set_steps(2'000'000);
  auto rejected = Refuse(assignment);
  ASSERT_TRUE(rejected.has_value());
  EXPECT_EQ(rejected->outcome(), v1::INVALID);
  EXPECT_THAT(rejected->reason(), HasSubstr("steps"));
  EXPECT_EQ(rejected->run_id(), key_.run_id);
  EXPECT_EQ(rejected->attempt(), key_.attempt);

  assignment = LongRun();
  assignment.mutable_spec()->mutable_workload()->mutable_model()->mutable_load()->set_model_id("m");
  rejected = Refuse(assignment);
  ASSERT_TRUE(rejected.has_value());
  EXPECT_EQ(rejected->outcome(), v1::INVALID);
  EXPECT_THAT(rejected->reason(), HasSubstr("model"));

  assignment = LongRun();
  assignment.mutable_spec()->set_environment("phone-3gb");
  rejected = Refuse(assignment);
  ASSERT_TRUE(rejected.has_value());
  EXPECT_EQ(rejected->outcome(), v1::ENVIRONMENT_REFUSED);
  EXPECT_THAT(rejected->reason(), HasSubstr("'phone-3gb' without its profile"));

  v1::EnvironmentProfile* const profile = assignment.mutable_spec()->mutable_environment_profile();
  profile->set_name("phone-3gb");
  profile->set_memory_bytes(3ULL << 30U);
  rejected = Refuse(assignment);
  ASSERT_TRUE(rejected.has_value());
  EXPECT_EQ(rejected->outcome(), v1::ENVIRONMENT_REFUSED);
  EXPECT_THAT(rejected->reason(), HasSubstr("'phone-3gb' cannot be set up: this worker does not apply"));
  options_.device.add_limitations(std::string(kNoEnvironments) + ": the kernel has no memory controller.");
  rejected = Refuse(assignment);
  ASSERT_TRUE(rejected.has_value());
  EXPECT_THAT(rejected->reason(), HasSubstr("the kernel has no memory controller"));
  // Able to, but without a place for groups.
  options_.device.add_capabilities(v1::ENVIRONMENT_PROFILES);
  rejected = Refuse(assignment);
  ASSERT_TRUE(rejected.has_value());
  EXPECT_EQ(rejected->outcome(), v1::ENVIRONMENT_REFUSED);

  assignment = LongRun();
  options_.policy.set_max_pressure_percent(60);
  assignment.mutable_spec()->mutable_workload()->mutable_pressure()->mutable_burst()->set_target_percent(90);
  rejected = Refuse(assignment);
  ASSERT_TRUE(rejected.has_value());
  EXPECT_EQ(rejected->outcome(), v1::INVALID);
  EXPECT_EQ(rejected->reason(), "policy.max_pressure_percent is 60% on this device; the job wants 90%");

  for (const auto& [model_id, quant, shape] : {std::tuple{"../../etc/passwd", "Q4_K_M", "tiny"},
                                               {"tiny", "../Q4", "tiny"},
                                               {"tiny", "Q4_K_M", "../../tmp/x"}}) {
    assignment = LongRun();
    v1::ResolvedModel* const model = assignment.add_models();
    model->set_model_id(model_id);
    model->set_quant(quant);
    model->mutable_synthetic()->set_shape(shape);
    model->mutable_synthetic()->set_seed(1);
    rejected = Refuse(assignment);
    ASSERT_TRUE(rejected.has_value()) << model_id << quant << shape;
    EXPECT_EQ(rejected->outcome(), v1::INVALID);
    EXPECT_THAT(rejected->reason(), HasSubstr("must match"));
  }

  assignment = LongRun();
  assignment.set_run_id("../../etc");
  rejected = Refuse(assignment);
  ASSERT_TRUE(rejected.has_value());
  EXPECT_EQ(rejected->outcome(), v1::INVALID);
}

}  // namespace
}  // namespace ballast::agent
