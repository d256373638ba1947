// A runner that becomes another program.
#include "worker/runner/program_start.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "tests/unit/worker/runner/runner_fixture.h"

namespace ballast::runner {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ProgramStartTest : public RunnerFixture {
 protected:
  ProgramStartTest() {
    std::string name = testing::TempDir() + "/ballast_program_test_XXXXXX";
    directory_ = ::mkdtemp(name.data());
    ::chmod(directory_.c_str(), 0755);
  }
  ~ProgramStartTest() override {
    runner_.reset();
    std::filesystem::remove_all(directory_);
  }

  // Starts it with standard input from nowhere and both outputs in a file, and waits for its end.
  base::ExitStatus Become(std::vector<std::string> argv, const std::function<void(v1::CommandTask*)>& change = {}) {
    v1::RunnerStart start;
    start.set_start_monotonic_ns(base::RealClock().Monotonic().count());
    v1::CommandTask* const task = start.mutable_command();
    for (std::string& argument : argv) *task->add_argv() = std::move(argument);
    task->set_working_directory(directory_.string());
    task->add_environment("PATH=/usr/bin:/bin");
    if (change) change(task);
    const base::Fd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const base::Fd output(::open((directory_ / "output").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    auto runner = RunnerProcess::Start(RUNNER_PROGRAM, start, {}, kFirstToGo,
                                       {{nothing.get(), 0}, {output.get(), 1}, {output.get(), 2}});
    EXPECT_TRUE(runner.ok()) << runner.status();
    runner_.emplace(*std::move(runner));
    ReadToEnd();
    return runner_->Wait(kPatience).value_or(base::ExitStatus{.exit_code = -1});
  }
  base::ExitStatus Shell(const std::string& script, const std::function<void(v1::CommandTask*)>& change = {}) {
    return Become({"/bin/sh", "-c", script}, change);
  }
  [[nodiscard]] std::string Output() const { return base::ReadFile(directory_ / "output").value_or(""); }
  [[nodiscard]] std::vector<std::string> OutputLines() const {
    std::istringstream text(Output());
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }

  std::filesystem::path directory_;
};

TEST_F(ProgramStartTest, TheProcessBecomesTheProgram) {
  EXPECT_EQ(Shell("echo $$ $PPID; exit 3"), (base::ExitStatus{.exit_code = 3}));
  EXPECT_EQ(Output(), fmt::format("{} {}\n", runner_->pid(), ::getpid()));
  ASSERT_EQ(reports_.size(), 1U);
  ASSERT_TRUE(reports_.front().has_program_begin());
  EXPECT_GT(reports_.front().program_begin().peak_resident_bytes(), 0U);
  EXPECT_GT(reports_.front().program_begin().minor_faults(), 0U);
}

TEST_F(ProgramStartTest, ArgumentsStayWhatTheyAre) {
  ASSERT_EQ(Become({"/usr/bin/printf", "%s\\n", "a b", "$(id)", "'; echo x", ""}), base::ExitStatus{});
  EXPECT_THAT(OutputLines(), ElementsAre("a b", "$(id)", "'; echo x", ""));
}

TEST_F(ProgramStartTest, NothingOfTheAgentIsLeftInIt) {
  ASSERT_EQ(Shell("env -u PWD -u OLDPWD -u SHLVL -u _ | sort; pwd; ls /proc/self/fd; "
                  "grep -E '^(SigBlk|SigIgn)' /proc/self/status; cat /proc/self/oom_score_adj; cat",
                  [](v1::CommandTask* task) { task->add_environment("GREETING=grüß dich"); }),
            base::ExitStatus{});
  EXPECT_THAT(OutputLines(),
              ElementsAre("GREETING=grüß dich", "PATH=/usr/bin:/bin", std::filesystem::canonical(directory_).string(),
                          "0", "1", "2", "3",  // the directory that ls reads
                          "SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "1000"));
}

TEST_F(ProgramStartTest, AStopIsASigterm) {
  v1::RunnerStart start;
  start.mutable_command()->add_argv("/bin/sh");
  start.mutable_command()->add_argv("-c");
  start.mutable_command()->add_argv("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done");
  start.mutable_command()->add_environment("PATH=/usr/bin:/bin");
  const base::Fd output(::open((directory_ / "output").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  auto runner = RunnerProcess::Start(RUNNER_PROGRAM, start, {}, kFirstToGo, {{output.get(), 1}});
  ASSERT_TRUE(runner.ok()) << runner.status();
  runner_.emplace(*std::move(runner));
  ReadToEnd();
  const auto deadline = base::RealClock().Monotonic() + kPatience;
  while (Output().empty() && base::RealClock().Monotonic() < deadline) ::usleep(1000);
  ASSERT_TRUE(runner_->RequestStop().ok());
  EXPECT_EQ(runner_->Wait(kPatience), (base::ExitStatus{.exit_code = 9}));
}

TEST_F(ProgramStartTest, WhatCannotBeStartedIsInvalidWithTheSystemsReason) {
  EXPECT_EQ(Become({(directory_ / "none").string()}), base::ExitStatus{});
  EXPECT_EQ(Finished().outcome(), v1::INVALID);
  EXPECT_THAT(Finished().message(), testing::AllOf(HasSubstr("/none"), HasSubstr("No such file")));

  std::ofstream(directory_ / "text") << "not a program";
  reports_.clear();
  EXPECT_EQ(Become({(directory_ / "text").string()}), base::ExitStatus{});
  EXPECT_THAT(Finished().message(), HasSubstr("Permission denied"));

  ::chmod((directory_ / "text").c_str(), 0755);
  reports_.clear();
  EXPECT_EQ(Become({(directory_ / "text").string()}), base::ExitStatus{});
  EXPECT_THAT(Finished().message(), HasSubstr("begins with #!"));

  std::ofstream(directory_ / "text") << "#!/no/such/interpreter\n";
  reports_.clear();
  EXPECT_EQ(Become({(directory_ / "text").string()}), base::ExitStatus{});
  EXPECT_THAT(Finished().message(), HasSubstr("interpreter"));

  reports_.clear();
  EXPECT_EQ(Shell("true", [](v1::CommandTask* task) { task->set_working_directory("/no/such/place"); }),
            base::ExitStatus{});
  EXPECT_THAT(Finished().message(), HasSubstr("/no/such/place"));

  reports_.clear();
  EXPECT_EQ(Shell("true", [](v1::CommandTask* task) { task->set_user("nobody-of-this-name"); }), base::ExitStatus{});
  EXPECT_THAT(Finished().message(), HasSubstr("no user 'nobody-of-this-name'"));
}

TEST_F(ProgramStartTest, AnotherUserIsThatUserAltogether) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_EQ(Shell("grep -E '^(Uid|Gid|Groups)' /proc/self/status; cat /proc/self/oom_score_adj",
                  [](v1::CommandTask* task) { task->set_user("nobody"); }),
            base::ExitStatus{});
  EXPECT_THAT(Output(), HasSubstr("Uid:\t65534\t65534\t65534\t65534\n"));
  EXPECT_THAT(Output(), HasSubstr("Gid:\t65534\t65534\t65534\t65534\nGroups:\t65534 \n"));
  EXPECT_THAT(Output(), HasSubstr("1000"));

  reports_.clear();
  ::chmod(directory_.c_str(), 0700);
  EXPECT_EQ(Shell("true", [](v1::CommandTask* task) { task->set_user("nobody"); }), base::ExitStatus{});
  EXPECT_THAT(Finished().message(), HasSubstr("enter the working directory"));
}

}  // namespace
}  // namespace ballast::runner
