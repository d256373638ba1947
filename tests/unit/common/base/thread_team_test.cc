#include "common/base/thread_team.h"

#include <gtest/gtest.h>

#include <barrier>
#include <mutex>
#include <set>
#include <thread>

namespace ballast::base {
namespace {

TEST(ThreadTeamTest, EachJobRunsOnAllThreadsAtOnce) {
  auto team = ThreadTeam::Start(4, "test");
  ASSERT_TRUE(team.ok()) << team.status();
  for (int job = 0; job < 100; ++job) {
    std::barrier together(4);  // fewer than four would wait for ever
    std::mutex mutex;
    std::set<std::thread::id> threads;
    (*team)->Run([&] {
      together.arrive_and_wait();
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
    });
    EXPECT_EQ(threads.size(), 4U);
    EXPECT_TRUE(threads.contains(std::this_thread::get_id()));
  }
}

TEST(ThreadTeamTest, OneIsTheCallerAlone) {
  auto team = ThreadTeam::Start(1, "test");
  ASSERT_TRUE(team.ok()) << team.status();
  int calls = 0;
  (*team)->Run([&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace ballast::base
