#include "worker/environment/run_environment.h"

#include <gmock/gmock.h>
#include <poll.h>

#include <csignal>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>

#include "common/base/child_process.h"
#include "tests/unit/worker/environment/group_fixture.h"

namespace ballast::environment {
namespace {

using ::testing::HasSubstr;

class RunEnvironmentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base::ChildOptions options;
    options.argv = {"/bin/sleep", "1000"};
    auto runner = base::ChildProcess::Start(options);
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_.emplace(*std::move(runner));
  }
  // The pid of the keeper, the one child of this process whose name says so.
  static pid_t KeeperPid() {
    const std::string self = std::to_string(::getpid());
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const auto stat = base::ReadFile(entry.path() / "stat");
      if (!stat.ok() || stat->find("(ballast-keeper)") == std::string::npos) continue;
      std::istringstream fields(stat->substr(stat->rfind(')') + 1));
      std::string state;
      std::string parent;
      if (fields >> state >> parent && parent == self && state != "Z") return std::stoi(entry.path().filename());
    }
    return 0;
  }
  // Kills the keeper and follows that.
  static void KillKeeper(RunEnvironment* environment) {
    ASSERT_EQ(::kill(KeeperPid(), SIGKILL), 0);
    pollfd told = {environment->keeper_fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&told, 1, 30'000), 1);
    environment->FollowKeeper();
  }
  std::optional<base::ChildProcess> runner_;
};

TEST_F(RunEnvironmentTest, AKeeperThatWasKilledIsReplaced) {
  RunEnvironment environment = RunEnvironment::Create(nullptr, nullptr).value();
  EXPECT_EQ(environment.keeper_fd(), -1);
  environment.Keep(runner_->pid());
  const pid_t first = KeeperPid();
  ASSERT_GT(first, 0);
  environment.FollowKeeper();
  EXPECT_EQ(KeeperPid(), first) << "one that lives stays";
  EXPECT_EQ(environment.note(), "");
  KillKeeper(&environment);
  EXPECT_GT(KeeperPid(), 0);
  EXPECT_NE(KeeperPid(), first);
  EXPECT_THAT(environment.note(), HasSubstr("keeper (process " + std::to_string(first) + ") was killed in mid-run"));
  EXPECT_TRUE(Runs(runner_->pid()));
}

TEST_F(RunEnvironmentTest, WhoeverKillsEachOfThemWantsNone) {
  RunEnvironment environment = RunEnvironment::Create(nullptr, nullptr).value();
  environment.Keep(runner_->pid());
  int killed = 0;
  for (; killed < 20 && environment.keeper_fd() >= 0; ++killed) KillKeeper(&environment);
  EXPECT_LT(killed, 20);
  EXPECT_THAT(environment.note(), HasSubstr("only the kernel's parent-death signal ends the runner"));
  EXPECT_EQ(KeeperPid(), 0);
}

}  // namespace
}  // namespace ballast::environment
