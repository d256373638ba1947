#include "worker/environment/run_in_environment.h"

#include <gmock/gmock.h>

#include "tests/unit/worker/environment/group_fixture.h"

namespace ballast::environment {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

constexpr std::uint64_t kLimit = 64ULL << 20U;
// More than the limit, in memory of its own: a shell has no other way to fill it.
constexpr char kFill[] = "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null";

class RunInEnvironmentTest : public GroupFixture {
 protected:
  void SetUp() override {
    Locate(1);
    ::sigprocmask(SIG_SETMASK, nullptr, &mask_);
  }
  void TearDown() override { ::sigprocmask(SIG_SETMASK, &mask_, nullptr); }

  CommandEnd Run(const std::string& script) {
    v1::EnvironmentProfile profile;
    profile.set_name("tiny");
    profile.set_memory_bytes(kLimit);
    return RunInEnvironment(profile, {"sh", "-c", script});
  }

  sigset_t mask_{};
};

TEST_F(RunInEnvironmentTest, PassesTheExitCodeThroughAndLeavesNothing) {
  const CommandEnd end = Run("grep :memory: /proc/self/cgroup > " + Path("place") + "; setsid sleep 1000 & echo $! > " +
                             Path("orphan") + "; exit 7");
  ASSERT_FALSE(end.refusal) << end.refusal->ToText();
  ASSERT_TRUE(end.start.ok()) << end.start;
  EXPECT_EQ(end.exit, (base::ExitStatus{.exit_code = 7, .signal = 0}));
  EXPECT_FALSE(end.oom_killed_at_limit());
  EXPECT_THAT(base::ReadFile(Path("place")).value(), EndsWith(":" + end.environment.cgroup() + "\n"));
  EXPECT_FALSE(Runs(std::stoi(base::ReadFile(Path("orphan")).value())));
  const std::string name = end.environment.cgroup().substr(end.environment.cgroup().rfind('/'));
  EXPECT_FALSE(std::filesystem::exists(location_.memory_directories.front() + name));
}

TEST_F(RunInEnvironmentTest, TellsAnOomKillAtTheLimit) {
  const CommandEnd end = Run(std::string("exec ") + kFill);
  ASSERT_FALSE(end.refusal) << end.refusal->ToText();
  EXPECT_EQ(end.exit, (base::ExitStatus{.exit_code = 0, .signal = SIGKILL}));
  EXPECT_TRUE(end.oom_killed_at_limit());
  EXPECT_EQ(end.oom.kills, 1U);
}

TEST_F(RunInEnvironmentTest, TellsOfAProcessThatWasKilledWhereTheCommandWentOn) {
  const CommandEnd end = Run(std::string(kFill) + "; exit 3");
  ASSERT_FALSE(end.refusal) << end.refusal->ToText();
  EXPECT_EQ(end.exit, (base::ExitStatus{.exit_code = 3, .signal = 0}));
  EXPECT_TRUE(end.oom_killed_at_limit());
}

TEST_F(RunInEnvironmentTest, ASignalThatSomebodySendsIsNoOomKill) {
  const CommandEnd end = Run("kill -9 $$");
  EXPECT_EQ(end.exit, (base::ExitStatus{.exit_code = 0, .signal = SIGKILL}));
  EXPECT_FALSE(end.oom_killed_at_limit());
}

TEST(CommandLookupTest, IsDoneBeforeAnythingElse) {
  v1::EnvironmentProfile profile;
  profile.set_name("tiny");
  profile.set_memory_bytes(kLimit);
  EXPECT_TRUE(absl::IsNotFound(RunInEnvironment(profile, {"no-such-program-anywhere"}).start));
  EXPECT_TRUE(absl::IsNotFound(RunInEnvironment(profile, {"/no/such/program"}).start));
  EXPECT_TRUE(absl::IsNotFound(RunInEnvironment(profile, {""}).start));
  EXPECT_TRUE(absl::IsPermissionDenied(RunInEnvironment(profile, {"/etc"}).start));
  EXPECT_TRUE(absl::IsPermissionDenied(RunInEnvironment(profile, {"/etc/passwd"}).start));
  EXPECT_THAT(std::string(RunInEnvironment(profile, {"/etc/passwd"}).start.message()), HasSubstr("/etc/passwd"));
}

}  // namespace
}  // namespace ballast::environment
