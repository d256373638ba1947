#include "common/base/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::base {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Optional;

constexpr std::chrono::milliseconds kLong = 30s;  // never reached by a test that passes

ChildOptions Shell(const std::string& script) {
  return {.argv = {"/bin/sh", "-c", script}};
}

struct Pipe {
  Fd reader;
  Fd writer;
};

Pipe MakePipe() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

// Everything until all writers are gone.
std::string ReadToEnd(const Fd& fd) {
  std::string text;
  std::array<char, 256> buffer{};
  ssize_t n = 0;
  while ((n = ::read(fd.get(), buffer.data(), buffer.size())) > 0)
    text.append(buffer.data(), static_cast<std::size_t>(n));
  return text;
}

std::string ReadLine(const Fd& fd) {
  std::string line;
  char c = 0;
  while (::read(fd.get(), &c, 1) == 1 && c != '\n') line += c;
  return line;
}

// Standard output of a child that runs to its end.
std::string OutputOf(ChildOptions options) {
  Pipe pipe = MakePipe();
  options.passed_fds.push_back({pipe.writer.get(), STDOUT_FILENO});
  auto child = ChildProcess::Start(options);
  EXPECT_TRUE(child.ok()) << child.status();
  pipe.writer.Reset();
  std::string output = ReadToEnd(pipe.reader);
  if (child.ok()) {
    EXPECT_THAT(child->Wait(kLong), Optional(ExitStatus{}));
  }
  return output;
}

// Waits for a process that is not a child of this one to be gone. The pidfd must have been opened while it lived.
bool WaitGone(const Fd& pid_fd) {
  pollfd poll_fd{pid_fd.get(), POLLIN, 0};
  return ::poll(&poll_fd, 1, static_cast<int>(kLong.count())) == 1;
}

Fd OpenPid(pid_t pid) {
  return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

TEST(ChildProcessTest, ReportsExitCodes) {
  for (const int code : {0, 1, 42, 255}) {
    auto child = ChildProcess::Start(Shell("exit " + std::to_string(code)));
    ASSERT_TRUE(child.ok()) << child.status();
    EXPECT_GT(child->pid(), 0);
    EXPECT_THAT(child->Wait(kLong), Optional(ExitStatus{.exit_code = code, .signal = 0}));
    EXPECT_FALSE(child->running());
    EXPECT_THAT(child->Wait(kLong), Optional(ExitStatus{.exit_code = code, .signal = 0})) << "repeatable";
  }
}

TEST(ChildProcessTest, ReportsSignals) {
  auto child = ChildProcess::Start(Shell("kill -ABRT $$"));
  ASSERT_TRUE(child.ok());
  EXPECT_THAT(child->Wait(kLong), Optional(ExitStatus{.exit_code = 0, .signal = SIGABRT}));

  auto sleeper = ChildProcess::Start({.argv = {"sleep", "1000"}});
  ASSERT_TRUE(sleeper.ok());
  EXPECT_EQ(sleeper->TryWait(), std::nullopt);
  EXPECT_EQ(sleeper->Wait(1ms), std::nullopt);
  EXPECT_TRUE(sleeper->running());
  sleeper->Signal(SIGTERM);
  EXPECT_THAT(sleeper->Wait(kLong), Optional(ExitStatus{.exit_code = 0, .signal = SIGTERM}));
  sleeper->Signal(SIGTERM);  // nothing is left to get it
}

TEST(ChildProcessTest, PidFdBecomesReadableAtTheEnd) {
  Pipe pipe = MakePipe();
  ChildOptions options = Shell("read line");
  options.passed_fds = {{pipe.reader.get(), STDIN_FILENO}};
  auto child = ChildProcess::Start(options);
  ASSERT_TRUE(child.ok());
  pollfd poll_fd{child->pid_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&poll_fd, 1, 0), 0);
  ASSERT_EQ(::write(pipe.writer.get(), "\n", 1), 1);
  EXPECT_EQ(::poll(&poll_fd, 1, static_cast<int>(kLong.count())), 1);
  EXPECT_THAT(child->TryWait(), Optional(ExitStatus{}));
}

TEST(ChildProcessTest, TellsWhyAProgramCannotBeRun) {
  const auto missing = ChildProcess::Start({.argv = {"/no/such/program"}});
  EXPECT_TRUE(absl::IsNotFound(missing.status())) << missing.status();
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("/no/such/program"));
  EXPECT_TRUE(absl::IsNotFound(ChildProcess::Start({.argv = {"ballast-no-such-program"}}).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(ChildProcess::Start({.argv = {"/"}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ChildProcess::Start({}).status()));
  const int unopened = 1000;
  EXPECT_FALSE(ChildProcess::Start({.argv = {"true"}, .passed_fds = {{unopened, 3}}}).ok());
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no zombie is left";
  EXPECT_EQ(errno, ECHILD);
}

TEST(ChildProcessTest, PassesDescriptorsUnderTheirNumbers) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const Fd ours(ends[0]);
  Fd theirs(ends[1]);
  ChildOptions options = Shell("read line <&3; echo \"got $line\" >&3");
  options.passed_fds = {{theirs.get(), 3}};
  auto child = ChildProcess::Start(options);
  ASSERT_TRUE(child.ok()) << child.status();
  theirs.Reset();
  ASSERT_EQ(::write(ours.get(), "hello\n", 6), 6);
  EXPECT_EQ(ReadToEnd(ours), "got hello\n");
  EXPECT_THAT(child->Wait(kLong), Optional(ExitStatus{}));
}

TEST(ChildProcessTest, SwapsDescriptorsWithoutMixingThem) {
  Pipe first = MakePipe();
  Pipe second = MakePipe();
  const int a = first.writer.get();
  const int b = second.writer.get();
  // Each takes the number of the other: copying one after the other would lose one.
  ChildOptions options = Shell("printf first >&" + std::to_string(b) + "; printf second >&" + std::to_string(a));
  options.passed_fds = {{a, b}, {b, a}};
  if (a > 9 || b > 9) {
    // The shell takes only single digits.
    options = Shell("printf first >&8; printf second >&9");
    options.passed_fds = {{a, 8}, {b, 9}};
  }
  auto child = ChildProcess::Start(options);
  ASSERT_TRUE(child.ok()) << child.status();
  first.writer.Reset();
  second.writer.Reset();
  EXPECT_EQ(ReadToEnd(first.reader), "first");
  EXPECT_EQ(ReadToEnd(second.reader), "second");
}

TEST(ChildProcessTest, GivesNoOtherDescriptorAway) {
  const Pipe pipe = MakePipe();
  // By name: descriptors that this program inherited without O_CLOEXEC are not its own to close.
  const std::string name = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(pipe.reader.get()));
  ASSERT_TRUE(name.starts_with("pipe:")) << name;
  EXPECT_THAT(OutputOf(Shell("cd /proc/$$/fd; for f in *; do readlink $f; done; true")),
              testing::Not(testing::HasSubstr(name)));
}

TEST(ChildProcessTest, GroupIsItsOwnAndKilledWhole) {
  Pipe pipe = MakePipe();
  // A grandchild that holds the pipe open and would outlive the child.
  ChildOptions options = Shell("sleep 1000 & echo $!; exec >&-; wait");
  options.passed_fds = {{pipe.writer.get(), STDOUT_FILENO}};
  auto child = ChildProcess::Start(options);
  ASSERT_TRUE(child.ok());
  pipe.writer.Reset();
  EXPECT_EQ(::getpgid(child->pid()), child->pid());
  const pid_t grandchild = std::stoi(ReadLine(pipe.reader));
  const Fd grandchild_fd = OpenPid(grandchild);
  ASSERT_TRUE(grandchild_fd.valid());
  child->Signal(SIGKILL);
  EXPECT_THAT(child->Wait(kLong), Optional(ExitStatus{.exit_code = 0, .signal = SIGKILL}));
  EXPECT_TRUE(WaitGone(grandchild_fd));
  EXPECT_EQ(ReadToEnd(pipe.reader), "") << "nobody holds the pipe any more";
}

TEST(ChildProcessTest, WhatAChildLeavesBehindIsKilledWithItsEnd) {
  Pipe pipe = MakePipe();
  ChildOptions options = Shell("sleep 1000 & echo $!; exit 3");
  options.passed_fds = {{pipe.writer.get(), STDOUT_FILENO}};
  auto child = ChildProcess::Start(options);
  ASSERT_TRUE(child.ok());
  pipe.writer.Reset();
  const Fd grandchild_fd = OpenPid(std::stoi(ReadLine(pipe.reader)));
  ASSERT_TRUE(grandchild_fd.valid());
  EXPECT_THAT(child->Wait(kLong), Optional(ExitStatus{.exit_code = 3, .signal = 0}));
  EXPECT_TRUE(WaitGone(grandchild_fd));
}

TEST(ChildProcessTest, DestructionAndAssignmentKillAndReap) {
  auto first = ChildProcess::Start({.argv = {"sleep", "1000"}});
  ASSERT_TRUE(first.ok());
  const pid_t first_pid = first->pid();
  {
    auto second = ChildProcess::Start({.argv = {"sleep", "1000"}});
    ASSERT_TRUE(second.ok());
    const pid_t second_pid = second->pid();
    *first = *std::move(second);
    EXPECT_EQ(::kill(first_pid, 0), -1);
    EXPECT_EQ(errno, ESRCH);
    EXPECT_EQ(first->pid(), second_pid);
    EXPECT_TRUE(first->running());
  }
  const pid_t left = first->pid();
  first = absl::CancelledError("");
  EXPECT_EQ(::kill(left, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

// The child of a process that is killed gets its signal. The process in the middle is a fork of this one, which dies
// without unwinding.
TEST(ChildProcessTest, DiesWithItsParent) {
  Pipe pipe = MakePipe();
  // The orphan becomes a child of this process, which then sees how it ended.
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  const pid_t middle = ::fork();
  ASSERT_GE(middle, 0);
  if (middle == 0) {
    auto child = ChildProcess::Start({.argv = {"sleep", "1000"}, .parent_death_signal = SIGKILL});
    const pid_t pid = child.ok() ? child->pid() : -1;
    [[maybe_unused]] const ssize_t written = ::write(pipe.writer.get(), &pid, sizeof pid);
    ::raise(SIGKILL);
  }
  pid_t child = -1;
  ASSERT_EQ(::read(pipe.reader.get(), &child, sizeof child), static_cast<ssize_t>(sizeof child));
  ASSERT_GT(child, 0);
  int status = 0;
  ASSERT_EQ(::waitpid(middle, &status, 0), middle);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

TEST(ChildProcessTest, StartsWithDefaultSignals) {
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
  auto* const handler_before = std::signal(SIGUSR1, SIG_IGN);
  const std::string output = OutputOf({.argv = {"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"}});
  std::signal(SIGUSR1, handler_before);
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
  EXPECT_EQ(output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST(ChildProcessTest, SetsOomScoreAdj) {
  EXPECT_EQ(OutputOf({.argv = {"cat", "/proc/self/oom_score_adj"}, .oom_score_adj = 1000}), "1000\n");
}

TEST(ChildProcessTest, SharesTheGroupWhereAsked) {
  auto child = ChildProcess::Start({.argv = {"sleep", "1000"}, .own_process_group = false});
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(::getpgid(child->pid()), ::getpgrp());
  child->Signal(SIGKILL);
  EXPECT_THAT(child->Wait(kLong), Optional(ExitStatus{.exit_code = 0, .signal = SIGKILL}));
}

TEST(ChildProcessTest, EndsAlsoWhereSomethingElseReapedIt) {
  auto child = ChildProcess::Start({.argv = {"true"}});
  ASSERT_TRUE(child.ok());
  ASSERT_EQ(::waitpid(child->pid(), nullptr, 0), child->pid());
  EXPECT_THAT(child->Wait(kLong), Optional(ExitStatus{.exit_code = -1, .signal = 0}));
  EXPECT_FALSE(child->running());
}

TEST(ChildProcessTest, WaitsThroughTheLongestTimeout) {
  auto child = ChildProcess::Start({.argv = {"true"}});
  ASSERT_TRUE(child.ok());
  EXPECT_THAT(child->Wait(std::chrono::milliseconds::max()), Optional(ExitStatus{}));
}

TEST(ChildProcessTest, TellsWhatAChildTook) {
  auto child = ChildProcess::Start(Shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 7"));
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_FALSE(child->usage().has_value());
  EXPECT_THAT(child->Wait(kLong), Optional(ExitStatus{.exit_code = 7}));
  ASSERT_TRUE(child->usage().has_value());
  EXPECT_GT(child->usage()->ru_maxrss, 0);
  EXPECT_GT(child->usage()->ru_minflt, 0);
  EXPECT_GT(child->usage()->ru_utime.tv_sec * 1'000'000 + child->usage()->ru_utime.tv_usec, 0);
}

}  // namespace
}  // namespace ballast::base
