#include "worker/runner/runner_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "common/base/file.h"
#include "tests/unit/worker/runner/runner_fixture.h"

namespace ballast::runner {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class RunnerProcessTest : public RunnerFixture {};

TEST_F(RunnerProcessTest, AStaircaseFromBeginningToEnd) {
  v1::PressureWorkload workload = Staircase(8 * kMiB, milliseconds(50), 3);
  *workload.mutable_baseline() = base::ToProto(milliseconds(20));
  *workload.mutable_recovery() = base::ToProto(milliseconds(20));
  StartRunner(StartOf(workload));
  ReadToEnd();
  const v1::RunnerFinished finished = Finished();
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_EQ(finished.peak_held_bytes(), 24 * kMiB);
  EXPECT_EQ(finished.filled_bytes(), 24 * kMiB);
  ASSERT_THAT(Steps(), SizeIs(3));
  for (const v1::Step& step : Steps()) {
    if (kCountsOwnMemoryOnly) {
      EXPECT_NEAR(static_cast<double>(step.resident_delta_bytes()), 8.0 * kMiB, 1.0 * kMiB);
    }
    EXPECT_EQ(step.held_bytes(), step.index() * 8 * kMiB);
  }
  EXPECT_THAT(EventsOf(v1::Event::PHASE_STARTED), SizeIs(5));
  EXPECT_THAT(EventsOf(v1::Event::RELEASED), SizeIs(1));
  EXPECT_EQ(runner_->Wait(kPatience), (base::ExitStatus{.exit_code = 0, .signal = 0}));
}

class RunnerScratchTest : public RunnerFixture {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::current_path() / "scratch-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    runner_.reset();
    std::filesystem::remove_all(directory_);
  }

  v1::RunnerStart StartOfFileCache(v1::PressureWorkload workload) const {
    workload.set_memory_kind(v1::FILE_CACHE);
    v1::RunnerStart start = StartOf(workload);
    start.set_scratch_dir(directory_.string());
    return start;
  }

  std::filesystem::path directory_;
};

TEST_F(RunnerScratchTest, NothingIsLeftOfFileCacheWhenTheRunnerIsKilled) {
  StartRunner(StartOfFileCache(Staircase(64 * kMiB, seconds(3600), 1)));
  ASSERT_TRUE(ReadUntil([](const v1::RunnerReport& report) { return report.has_step(); }));
  EXPECT_EQ(Steps()[0].held_bytes(), 64 * kMiB);
  runner_->Kill();
  EXPECT_EQ(runner_->Wait(kPatience), (base::ExitStatus{.exit_code = 0, .signal = SIGKILL}));
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
}

TEST_F(RunnerScratchTest, FileCacheNeedsAPlace) {
  v1::RunnerStart start = StartOfFileCache(Staircase(kMiB, milliseconds(10), 1));
  start.set_scratch_dir((directory_ / "missing").string());
  StartRunner(start);
  ReadToEnd();
  EXPECT_EQ(Finished().outcome(), v1::INVALID);
  EXPECT_THAT(Finished().message(), HasSubstr(start.scratch_dir()));
}

TEST_F(RunnerProcessTest, TellsWhatCameOfTheHotSet) {
  v1::PressureWorkload workload = Staircase(8 * kMiB, milliseconds(300), 1);
  workload.mutable_hot_set()->set_percent(100);
  *workload.mutable_hot_set()->mutable_interval() = base::ToProto(milliseconds(50));
  StartRunner(StartOf(workload));
  ReadToEnd();
  EXPECT_EQ(Finished().outcome(), v1::COMPLETED) << Finished().message();
  EXPECT_THAT(Finished().message(), ContainsRegex("; hot set: [1-9][0-9]* pages touched in [1-9]"));
}

TEST_F(RunnerProcessTest, TheRunnerIsTheFirstToGoAndHasAGroupAndANameOfItsOwn) {
  StartRunner(StartOf(Staircase(kMiB, seconds(3600), 1)));
  ASSERT_TRUE(ReadUntil([](const v1::RunnerReport& report) { return report.has_step(); }));
  const auto score = base::ReadFile(fmt::format("/proc/{}/oom_score_adj", runner_->pid()));
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_EQ(*score, "1000\n");
  EXPECT_EQ(::getpgid(runner_->pid()), runner_->pid());
  const auto name = base::ReadFile(fmt::format("/proc/{}/comm", runner_->pid()));
  ASSERT_TRUE(name.ok()) << name.status();
  EXPECT_EQ(*name, "ballast-runner\n");
}

TEST_F(RunnerProcessTest, AStopReleasesAndEnds) {
  StartRunner(StartOf(Staircase(16 * kMiB, seconds(3600), 1)));
  ASSERT_TRUE(ReadUntil([](const v1::RunnerReport& report) { return report.has_step(); }));
  const auto asked = base::RealClock().Monotonic();
  ASSERT_TRUE(runner_->RequestStop().ok());
  ReadToEnd();
  EXPECT_LT(base::RealClock().Monotonic() - asked, seconds(1));
  EXPECT_EQ(Finished().outcome(), v1::CANCELLED) << Finished().message();
  ASSERT_THAT(EventsOf(v1::Event::RELEASED), SizeIs(1));
  EXPECT_EQ(EventsOf(v1::Event::RELEASED)[0].value(), 16.0 * kMiB);
  EXPECT_EQ(runner_->Wait(kPatience), (base::ExitStatus{.exit_code = 0, .signal = 0}));
  EXPECT_TRUE(runner_->RequestStop().ok()) << "also where it has ended";
}

TEST_F(RunnerProcessTest, AShrinkIsBegunWithinTwentyMillisecondsAndTheRunGoesOn) {
  const v1::RunnerStart start = StartOf(Staircase(64 * kMiB, milliseconds(2000), 2));
  const std::chrono::nanoseconds begun(start.start_monotonic_ns());
  StartRunner(start);
  const auto steps = [](const v1::RunnerReport& report) { return report.has_step(); };
  ASSERT_TRUE(ReadUntil(steps));
  // Other programs' turns on the processors only add to what it takes, so the quickest of several counts.
  constexpr std::size_t kShrinks = 5;
  std::chrono::nanoseconds quickest = kPatience;
  for (std::size_t i = 0; i < kShrinks; ++i) {
    const auto asked = base::RealClock().Monotonic();
    ASSERT_TRUE(runner_->RequestShrink(8 * kMiB, milliseconds(10)).ok());
    ASSERT_TRUE(ReadUntil([](const v1::RunnerReport& report) {
      return report.has_event() && report.event().kind() == v1::Event::RELEASED;
    }));
    ASSERT_THAT(EventsOf(v1::Event::RELEASED), SizeIs(i + 1));
    const v1::Event released = EventsOf(v1::Event::RELEASED).back();
    EXPECT_EQ(released.value(), 8.0 * kMiB);
    quickest = std::min(quickest, begun + base::FromProto(released.offset()) - asked);
  }
  EXPECT_LT(quickest, milliseconds(20));
  ASSERT_TRUE(ReadUntil(steps));
  EXPECT_EQ(Steps()[1].held_bytes(), 128 * kMiB);
  ReadToEnd();
  EXPECT_EQ(Finished().outcome(), v1::COMPLETED) << Finished().message();
  EXPECT_TRUE(runner_->RequestShrink(1, milliseconds(1)).ok()) << "also where it has ended";
}

TEST_F(RunnerProcessTest, KillEndsIt) {
  StartRunner(StartOf(Staircase(kMiB, seconds(3600), 1)));
  ASSERT_TRUE(ReadUntil([](const v1::RunnerReport& report) { return report.has_step(); }));
  runner_->Kill();
  EXPECT_EQ(runner_->Wait(kPatience), (base::ExitStatus{.exit_code = 0, .signal = SIGKILL}));
  ReadToEnd();
}

TEST_F(RunnerProcessTest, NoRunnerOutlivesItsOwner) {
  StartRunner(StartOf(Staircase(kMiB, seconds(3600), 1)));
  const pid_t pid = runner_->pid();
  runner_.reset();
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST_F(RunnerProcessTest, ARunnerDiesWithAnAgentThatIsKilled) {
  // The orphan comes to this process, so that its end can be seen.
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const base::Fd reader(ends[0]);
  base::Fd writer(ends[1]);
  base::ChildOptions options;
  options.argv = {RUNNER_PROGRAM, "--agent"};
  options.passed_fds = {{.from = writer.get(), .to = STDOUT_FILENO}};
  auto agent = base::ChildProcess::Start(options);
  ASSERT_TRUE(agent.ok()) << agent.status();
  writer.Reset();
  std::array<char, 32> text{};
  ASSERT_GT(::read(reader.get(), text.data(), text.size() - 1), 0);
  const auto runner = static_cast<pid_t>(std::strtol(text.data(), nullptr, 10));
  ASSERT_GT(runner, 1);
  const base::Fd runner_fd(static_cast<int>(::syscall(SYS_pidfd_open, runner, 0)));
  ASSERT_TRUE(runner_fd.valid());

  agent->Signal(SIGKILL);
  ASSERT_TRUE(agent->Wait(kPatience).has_value());
  pollfd entry{.fd = runner_fd.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&entry, 1, 5000), 1) << "the runner lives on";
  int status = 0;
  EXPECT_EQ(::waitpid(runner, &status, 0), runner);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

// Starts `--runner` with this end of a channel of the test's own.
class RawRunnerTest : public ::testing::Test {
 protected:
  void StartRaw() {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    near_.Reset(ends[0]);
    const base::Fd far(ends[1]);
    base::ChildOptions options;
    options.argv = {RUNNER_PROGRAM, "--runner"};
    options.passed_fds = {{.from = far.get(), .to = 3}};
    auto child = base::ChildProcess::Start(options);
    ASSERT_TRUE(child.ok()) << child.status();
    child_ = *std::move(child);
  }

  base::Fd near_;
  base::ChildProcess child_;
};

TEST_F(RawRunnerTest, EndsWhenTheChannelIsClosed) {
  StartRaw();
  v1::RunnerCommand command;
  auto* workload = command.mutable_start()->mutable_workload()->mutable_pressure();
  *workload = Staircase(kMiB, seconds(3600), 1);
  ASSERT_TRUE(FrameSender(near_.get()).Send(command).ok());
  near_.Reset();
  EXPECT_EQ(child_.Wait(seconds(30)), (base::ExitStatus{.exit_code = 1, .signal = 0}));
}

TEST_F(RawRunnerTest, EndsWhenNoStartComes) {
  StartRaw();
  near_.Reset();
  EXPECT_EQ(child_.Wait(seconds(30)), (base::ExitStatus{.exit_code = 1, .signal = 0}));
}

TEST_F(RawRunnerTest, EndsOnBytesThatAreNoCommand) {
  StartRaw();
  ASSERT_TRUE(base::WriteAll(near_.get(), "\xff\xff\xff\xff\xff\xff").ok());
  EXPECT_EQ(child_.Wait(seconds(30)), (base::ExitStatus{.exit_code = 1, .signal = 0}));
}

TEST_F(RunnerProcessTest, WithoutAChannelItIsAUsageError) {
  base::ChildOptions options;
  options.argv = {RUNNER_PROGRAM, "--runner"};
  const base::Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  options.passed_fds = {{.from = null.get(), .to = 3}};
  auto child = base::ChildProcess::Start(options);
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(child->Wait(kPatience), (base::ExitStatus{.exit_code = 2, .signal = 0}));
}

TEST_F(RunnerProcessTest, AWorkloadOfAnotherKindIsInvalid) {
  v1::RunnerStart start;
  start.mutable_workload()->mutable_model()->mutable_load()->set_model_id("m");
  start.set_start_monotonic_ns(base::RealClock().Monotonic().count());
  StartRunner(start);
  ReadToEnd();
  EXPECT_EQ(Finished().outcome(), v1::INVALID);
  EXPECT_THAT(Finished().message(), HasSubstr("neither pressure nor a model"));
}

TEST_F(RunnerProcessTest, AMissingProgramIsNotFound) {
  EXPECT_EQ(RunnerProcess::Start("/nonexistent/ballast-worker", {}).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace ballast::runner
