#include "worker/environment/runner_keeper.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <sys/prctl.h>

#include <sstream>

#include "tests/unit/worker/environment/group_fixture.h"
#include "worker/environment/own_group.h"

namespace ballast::environment {
namespace {

class RunnerKeeperTest : public GroupFixture {
 protected:
  // A process that has a runner, a keeper over it and nothing else: an agent. The runner is a shell with a child in its
  // process group, and one that has left it. Writes what there is to `family`: the runner's pid, the children's, the
  // keeper's. Does not return.
  [[noreturn]] void BeAgent(const OwnGroup* group) {
    base::ChildOptions options;
    options.argv = {"/bin/sh", "-c",
                    "sleep 1000 & a=$!; setsid sleep 1000 & echo $a $! > " + Path("children") + "; exec sleep 1000"};
    options.parent_death_signal = SIGKILL;
    if (group != nullptr) options.cgroups = {group->directory()};
    auto runner = base::ChildProcess::Start(options);
    if (!runner.ok()) ::_exit(1);
    std::string children = WaitForContent(Path("children"));
    children.pop_back();
    auto keeper = RunnerKeeper::Start(runner->pid(), group != nullptr ? group->directory() : std::string());
    if (!keeper.ok()) ::_exit(2);
    Write("family", std::to_string(runner->pid()) + " " + children + " " + std::to_string(keeper->pid()) + "\n");
    while (true) ::pause();
  }

  void StartAgent(const OwnGroup* group) {
    ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);  // orphans come here, so that they can be reaped
    agent_ = ::fork();
    ASSERT_GE(agent_, 0);
    if (agent_ == 0) BeAgent(group);
    std::istringstream family(WaitForContent(Path("family")));
    ASSERT_TRUE(family >> runner_ >> child_ >> orphan_ >> keeper_);
    for (const pid_t pid : {runner_, child_, orphan_, keeper_}) ASSERT_TRUE(Runs(pid)) << pid;
  }

  void TearDown() override {
    if (orphan_ > 0 && Runs(orphan_)) ::kill(orphan_, SIGKILL);
    if (agent_ <= 0) return;
    ::kill(agent_, SIGKILL);
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  }

  pid_t agent_ = 0;
  pid_t runner_ = 0;
  pid_t child_ = 0;
  pid_t orphan_ = 0;
  pid_t keeper_ = 0;
};

TEST_F(RunnerKeeperTest, EndsAllOfTheCgroupWhenTheAgentIsKilled) {
  Locate(1);
  if (IsSkipped()) return;
  auto group = OwnGroup::Create(location_, "ballast-test-");
  ASSERT_TRUE(group.ok()) << group.status();
  StartAgent(&*group);
  ::kill(agent_, SIGKILL);
  for (const pid_t pid : {runner_, child_, orphan_, keeper_}) EXPECT_TRUE(WaitUntil([=] { return !Runs(pid); })) << pid;
  EXPECT_TRUE(WaitUntil([&] { return !std::filesystem::exists(group->directory()); }));
}

TEST_F(RunnerKeeperTest, EndsTheProcessGroupWhereThereIsNoCgroup) {
  StartAgent(nullptr);
  ::kill(agent_, SIGKILL);
  for (const pid_t pid : {runner_, child_, keeper_}) EXPECT_TRUE(WaitUntil([=] { return !Runs(pid); })) << pid;
  EXPECT_TRUE(Runs(orphan_)) << "what leaves the process group is out of reach without a cgroup";
}

TEST_F(RunnerKeeperTest, IsOutOfReachOfTerminalsAndServiceManagers) {
  StartAgent(nullptr);
  EXPECT_EQ(::getsid(keeper_), keeper_);
  ::kill(keeper_, SIGTERM);
  ::kill(keeper_, SIGINT);
  const std::string directory = "/proc/" + std::to_string(keeper_);
  EXPECT_EQ(base::ReadFile(directory + "/comm").value(), "ballast-keeper\n");
  int descriptors = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory + "/fd")) ++descriptors;
  EXPECT_EQ(descriptors, 1) << "its end of the channel";
  EXPECT_TRUE(Runs(keeper_));
}

TEST(RunnerKeeperInAgentTest, IsReapedWhenItIsDismissed) {
  base::ChildOptions options;
  options.argv = {"/bin/sleep", "1000"};
  auto runner = base::ChildProcess::Start(options);
  ASSERT_TRUE(runner.ok()) << runner.status();
  pid_t pid = 0;
  {
    const auto keeper = RunnerKeeper::Start(runner->pid(), "");
    ASSERT_TRUE(keeper.ok()) << keeper.status();
    pid = keeper->pid();
    EXPECT_TRUE(Runs(pid));
  }
  EXPECT_NE(::kill(pid, 0), 0) << "not even a zombie is left";
  EXPECT_TRUE(runner->running());
  EXPECT_TRUE(Runs(runner->pid()));
  // One that somebody has killed is no harm.
  auto killed = RunnerKeeper::Start(runner->pid(), "");
  ASSERT_TRUE(killed.ok()) << killed.status();
  EXPECT_FALSE(killed->killed());
  ::kill(killed->pid(), SIGKILL);
  pollfd told = {killed->fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&told, 1, 30'000), 1);
  EXPECT_TRUE(killed->killed());
  *killed = RunnerKeeper();
  EXPECT_FALSE(killed->killed());
  EXPECT_TRUE(Runs(runner->pid()));
}

}  // namespace
}  // namespace ballast::environment
