// Runners in a memory cgroup with a limit, where they may run out of memory without harm. Version 1 groups; version 2
// is tested on devices.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "common/base/file.h"
#include "common/os/cgroup.h"
#include "common/os/file_reader.h"
#include "common/os/procfs.h"
#include "tests/unit/worker/runner/runner_fixture.h"

namespace ballast::runner {
namespace {

using std::chrono::milliseconds;
using ::testing::SizeIs;

constexpr std::uint64_t kLimit = 512 * kMiB;

bool WriteText(const std::string& path, const std::string& text) {
  const auto file = base::OpenFile(path, O_WRONLY);
  return file.ok() && base::WriteAll(file->get(), text).ok();
}

class RunnerInCgroupTest : public RunnerFixture {
 protected:
  void SetUp() override {
    if (!kCountsOwnMemoryOnly) GTEST_SKIP() << "what the group uses is mostly the sanitizer's";
    const auto location = os::LocateCgroups();
    if (!location.ok() || location->memory_version != 1) {
      GTEST_SKIP() << "needs the version 1 memory controller";
    }
    // What the runner has to read of its program would be charged to the group, where others' pages may leave at any
    // time.
    ASSERT_TRUE(base::ReadFile(RUNNER_PROGRAM).ok());
    home_ = location->memory_directories.front();
    directory_ = fmt::format("{}/ballast-test-{}", location->memory_directories.back(), ::getpid());
    if (::mkdir(directory_.c_str(), 0755) != 0) GTEST_SKIP() << "needs the right to make a cgroup (run as root)";
    made_ = true;
    // The limit first: nothing may run in a group without one.
    const std::string limit_file = directory_ + "/memory.limit_in_bytes";
    const bool written = WriteText(limit_file, std::to_string(kLimit));
    const auto limit = base::ReadFile(limit_file);
    if (!written || !limit.ok() || os::ParseMemoryLimit(*limit) != kLimit) GTEST_SKIP() << "cannot limit the cgroup";
    // A kernel without swap accounting has no such file; with swap it would let the group grow past its limit.
    WriteText(directory_ + "/memory.memsw.limit_in_bytes", std::to_string(kLimit));
  }

  void TearDown() override {
    runner_.reset();
    EXPECT_TRUE(!made_ || ::rmdir(directory_.c_str()) == 0) << "something is left in " << directory_;
  }

  // The runner is born into the group, before it has allocated anything.
  void StartInGroup(const v1::PressureWorkload& workload) {
    ASSERT_TRUE(WriteText(directory_ + "/cgroup.procs", std::to_string(::getpid())));
    v1::RunnerStart start = StartOf(workload);
    start.set_scratch_dir(std::filesystem::current_path().string());
    auto runner = RunnerProcess::Start(RUNNER_PROGRAM, start);
    ASSERT_TRUE(WriteText(home_ + "/cgroup.procs", std::to_string(::getpid())));
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_.emplace(*std::move(runner));
  }

  // A figure of the group, in percent of its limit: the kernel's word, not the runner's.
  double PercentOf(const std::string& file) const {
    const auto text = base::ReadFile(directory_ + "/" + file);
    EXPECT_TRUE(text.ok()) << text.status();
    return 100.0 * static_cast<double>(os::ParseNumber(text.value_or("")).value_or(0)) / static_cast<double>(kLimit);
  }

  std::string home_;
  std::string directory_;
  bool made_ = false;
};

TEST_F(RunnerInCgroupTest, ABurstHoldsItsShareOfTheGroupsLimit) {
  v1::PressureWorkload workload = BarePressure();
  workload.mutable_burst()->set_target_percent(70);
  *workload.mutable_burst()->mutable_duration() = base::ToProto(milliseconds(1500));
  StartInGroup(workload);
  const auto holds = [](const v1::RunnerReport& report) {
    return report.has_phase() && report.phase().kind() == v1::Phase::HOLD;
  };
  ASSERT_TRUE(ReadUntil(holds));
  EXPECT_NEAR(PercentOf("memory.usage_in_bytes"), 70, 0.5);
  ASSERT_TRUE(ReadUntil([](const v1::RunnerReport& report) {
    return report.has_phase() && report.phase().kind() == v1::Phase::RELEASE;
  }));
  ReadToEnd();
  EXPECT_EQ(Finished().outcome(), v1::COMPLETED) << Finished().message();
  EXPECT_LE(PercentOf("memory.max_usage_in_bytes"), 70.5) << "overshot";
  EXPECT_GT(Finished().peak_held_bytes(), kLimit / 2);
}

struct KindCase {
  v1::MemoryKind kind = v1::ANONYMOUS;
  bool lock = false;
  std::uint32_t threads = 1;
};

class RunnerOfAKindTest : public RunnerInCgroupTest, public ::testing::WithParamInterface<KindCase> {};

TEST_P(RunnerOfAKindTest, HoldsItsShareAndReallyGivesItBack) {
  v1::PressureWorkload workload = BarePressure();
  workload.mutable_burst()->set_target_percent(60);
  workload.set_memory_kind(GetParam().kind);
  workload.set_lock(GetParam().lock);
  workload.set_fill_threads(GetParam().threads);
  *workload.mutable_burst()->mutable_duration() = base::ToProto(milliseconds(300));
  *workload.mutable_recovery() = base::ToProto(std::chrono::seconds(60));
  StartInGroup(workload);
  const auto begins = [](v1::Phase::Kind kind) {
    return [kind](const v1::RunnerReport& report) { return report.has_phase() && report.phase().kind() == kind; };
  };
  ASSERT_TRUE(ReadUntil(begins(v1::Phase::HOLD))) << Finished().message();
  // Other pages of the group's own may be called available, so file cache is held less exactly by its usage.
  EXPECT_NEAR(PercentOf("memory.usage_in_bytes"), 60, GetParam().kind == v1::FILE_CACHE ? 2 : 0.5);
  ASSERT_TRUE(ReadUntil(begins(v1::Phase::RECOVERY)));
  EXPECT_LT(PercentOf("memory.usage_in_bytes"), 5) << "given back, while the runner lives on";
  ASSERT_TRUE(runner_->RequestStop().ok());
  ReadToEnd();
}

INSTANTIATE_TEST_SUITE_P(Kinds, RunnerOfAKindTest,
                         ::testing::Values(KindCase{}, KindCase{.threads = 2}, KindCase{.lock = true},
                                           KindCase{.kind = v1::SHARED}, KindCase{.kind = v1::FILE_CACHE},
                                           KindCase{.kind = v1::FILE_CACHE, .lock = true}),
                         [](const auto& kind) {
                           return fmt::format("{}{}{}", v1::MemoryKind_Name(kind.param.kind),
                                              kind.param.lock ? "_locked" : "",
                                              kind.param.threads > 1 ? "_by_threads" : "");
                         });

// Another process of the group: 5 % of the limit up and down again in four seconds, as a program that is opened and
// closed.
class Neighbour {
 public:
  explicit Neighbour(const std::string& procs_file) : pid_(::fork()) {
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    constexpr std::size_t kMost = kLimit / 20;
    auto* begin =
        static_cast<char*>(::mmap(nullptr, kMost, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (!WriteText(procs_file, std::to_string(::getpid())) || begin == MAP_FAILED) ::_exit(1);
    ::madvise(begin, kMost, MADV_NOHUGEPAGE);
    constexpr std::size_t kMoves = 200;
    constexpr std::size_t kPart = kMost / kMoves / 4096 * 4096;
    while (true) {
      for (std::size_t i = 0; i < kMoves; ++i, ::usleep(10'000)) std::memset(begin + i * kPart, 1, kPart);
      for (std::size_t i = kMoves; i-- > 0; ::usleep(10'000)) ::madvise(begin + i * kPart, kPart, MADV_DONTNEED);
    }
  }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;
  ~Neighbour() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

TEST_F(RunnerInCgroupTest, TwoRunnersHoldOneTargetBesideANeighbour) {
  v1::PressureWorkload workload = BarePressure();
  workload.mutable_burst()->set_target_percent(70);
  *workload.mutable_burst()->mutable_duration() = base::ToProto(std::chrono::seconds(3600));
  StartInGroup(workload);
  RunnerProcess first = *std::move(runner_);
  StartInGroup(workload);
  const Neighbour neighbour(directory_ + "/cgroup.procs");
  ASSERT_TRUE(ReadUntil(
      [](const v1::RunnerReport& report) { return report.has_phase() && report.phase().kind() == v1::Phase::HOLD; }));
  std::size_t samples = 0;
  std::size_t close = 0;
  const auto end = base::RealClock().Monotonic() + std::chrono::seconds(6);
  double highest = 0;
  double lowest = 100;
  while (base::RealClock().Monotonic() < end) {
    ::usleep(20'000);
    std::vector<v1::RunnerReport> reports;
    EXPECT_TRUE(first.ReadReports(&reports).ok());
    EXPECT_TRUE(runner_->ReadReports(&reports_).ok());
    const double percent = PercentOf("memory.usage_in_bytes");
    highest = std::max(highest, percent);
    lowest = std::min(lowest, percent);
    ++samples;
    if (std::abs(percent - 70) <= 1) ++close;
  }
  // The figure to hold is in tests/bench; here a busy machine may let all of them wait for a while. Loops that swing
  // against each other would be off most of the time.
  EXPECT_GE(static_cast<double>(close), 0.9 * static_cast<double>(samples))
      << "between " << lowest << " and " << highest << " %";
  EXPECT_LE(highest, 73);
  first.Kill();
  EXPECT_TRUE(first.Wait(kPatience).has_value());
}

TEST_F(RunnerInCgroupTest, ASawtoothMovesWithinTheGroupsLimit) {
  v1::PressureWorkload workload = BarePressure();
  workload.mutable_sawtooth()->set_min_percent(40);
  workload.mutable_sawtooth()->set_max_percent(60);
  workload.mutable_sawtooth()->set_cycles(2);
  *workload.mutable_sawtooth()->mutable_cycle_duration() = base::ToProto(milliseconds(1500));
  StartInGroup(workload);
  ReadToEnd();
  EXPECT_EQ(Finished().outcome(), v1::COMPLETED) << Finished().message();
  EXPECT_THAT(EventsOf(v1::Event::CYCLE_COMPLETED), SizeIs(2));
  // A busy machine may wake the loop too late for the very peak.
  EXPECT_GE(PercentOf("memory.max_usage_in_bytes"), 55);
  EXPECT_LE(PercentOf("memory.max_usage_in_bytes"), 61);
}

TEST_F(RunnerInCgroupTest, AllocateFullStopsAtTheFloorAndLives) {
  v1::PressureWorkload workload = BarePressure();
  workload.mutable_allocate_full()->set_until(v1::AllocateFullPattern::FLOOR);
  StartInGroup(workload);
  ReadToEnd();
  EXPECT_EQ(Finished().outcome(), v1::COMPLETED) << Finished().message();
  EXPECT_THAT(EventsOf(v1::Event::FLOOR_REACHED), SizeIs(1));
  EXPECT_LT(Finished().peak_held_bytes(), kLimit * 95 / 100);
  EXPECT_GT(Finished().peak_held_bytes(), kLimit * 90 / 100);
}

TEST_F(RunnerInCgroupTest, AllocateFullUntilOomEndsInTheKernelsKillAndThisProcessLives) {
  v1::PressureWorkload workload = BarePressure();
  workload.mutable_allocate_full()->set_until(v1::AllocateFullPattern::OOM);
  StartInGroup(workload);
  ReadToEnd();
  EXPECT_EQ(runner_->Wait(kPatience), (base::ExitStatus{.exit_code = 0, .signal = SIGKILL}));
  std::uint64_t held = 0;
  for (const v1::RunnerReport& report : reports_) {
    if (report.has_state()) held = report.state().held_bytes();
  }
  EXPECT_GT(held, kLimit * 80 / 100) << "the last word before the kill";
  const auto events = base::ReadFile(directory_ + "/memory.oom_control");
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_EQ(os::FindKeyedNumber(*events, "oom_kill"), 1U);
}

}  // namespace
}  // namespace ballast::runner
