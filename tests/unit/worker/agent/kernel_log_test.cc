#include "worker/agent/kernel_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ballast::agent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kChosen =
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/box,task_memcg=/box,"
    "task=ballast-worker,pid=4242,uid=0";
const std::string kKilledInGroup =
    "Memory cgroup out of memory: Killed process 4242 (ballast-worker) total-vm:531244kB, anon-rss:520000kB";
const std::string kKilled = "Out of memory: Killed process 4242 (ballast-worker) total-vm:531244kB, anon-rss:520000kB";

TEST(KernelLogTest, TheTextOfARecord) {
  EXPECT_EQ(KernelMessageText("6,339,5140900,-;NET: Registered protocol\n SUBSYSTEM=net\n"),
            "NET: Registered protocol");
  EXPECT_EQ(KernelMessageText("3,1,2,-,caller=T1;a;b"), "a;b");
  for (const char* const bad : {"", ";", ";text", "no number;text", "6,1,2,-"}) {
    EXPECT_EQ(KernelMessageText(bad), std::nullopt) << bad;
  }
}

TEST(KernelLogTest, OnlyMessagesAboutTheProcess) {
  const std::vector<std::string> messages = {
      kChosen,
      kKilled,
      "[   4242]     0  4242   132811   130000  1069056        0          1000 ballast-worker",
      "ballast-worker[4242]: segfault at 0 ip 0 sp 0 error 4",
      "Out of memory: Killed process 42421 (other)",
      "Out of memory: Killed process 424 (other)",
      "eth0: link up, 4242 Mb/s",
  };
  EXPECT_THAT(MessagesAbout(messages, 4242), ElementsAre(messages[0], messages[1], messages[2], messages[3]));
  EXPECT_THAT(MessagesAbout(messages, 4242, 2), ElementsAre(messages[2], messages[3]));
  EXPECT_THAT(MessagesAbout(messages, 7), IsEmpty());
}

TEST(KernelLogTest, WhyTheKernelKilled) {
  EXPECT_EQ(FindOomVerdict({kKilledInGroup}, 4242), OomVerdict::kMemcg);
  EXPECT_EQ(FindOomVerdict({kChosen}, 4242), OomVerdict::kMemcg);
  EXPECT_EQ(FindOomVerdict({kKilled}, 4242), OomVerdict::kGlobal);
  EXPECT_EQ(FindOomVerdict({"Tasks in /box are going to be killed: Killed process 4242 (x)"}, 4242),
            OomVerdict::kUnclear);
  EXPECT_EQ(FindOomVerdict({kKilled, kChosen}, 4243), OomVerdict::kNone);
  EXPECT_EQ(FindOomVerdict({"ballast-worker[4242]: segfault"}, 4242), OomVerdict::kNone);
}

TEST(KernelLogTest, OtherVictims) {
  EXPECT_FALSE(NamesOtherVictim({kKilledInGroup, kKilled, kChosen}, 4242));
  EXPECT_TRUE(NamesOtherVictim({kKilledInGroup}, 424));
  EXPECT_TRUE(NamesOtherVictim({kKilledInGroup}, 42421));
  EXPECT_TRUE(NamesOtherVictim({kKilledInGroup, "Out of memory: Killed process 7 (x)"}, 4242));
  EXPECT_FALSE(NamesOtherVictim({kChosen, "Killed process ", "Killed process x"}, 7)) << "no kill, or no number";
}

TEST(KernelLogTest, ANewReaderSeesOnlyWhatComes) {
  absl::StatusOr<KernelLog> log = KernelLog::Open();
  if (!log.ok()) GTEST_SKIP() << log.status();
  EXPECT_THAT(log->ReadMessages(), SizeIs(testing::Lt(100)));
  EXPECT_FALSE(KernelLog::Open("/nonexistent").ok());
}

}  // namespace
}  // namespace ballast::agent
