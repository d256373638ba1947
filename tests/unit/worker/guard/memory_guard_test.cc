#include "worker/guard/memory_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/worker/guard/fake_device.h"

namespace ballast::guard {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class MemoryGuardTest : public ::testing::Test {
 protected:
  std::unique_ptr<MemoryGuard> Open() {
    GuardOptions options;
    options.root = proc_.root();
    auto guard = MemoryGuard::Open(options, &load_, &load_);
    EXPECT_TRUE(guard.ok()) << guard.status();
    return *std::move(guard);
  }
  FakeProc proc_;
  FakeLoad load_;
};

TEST_F(MemoryGuardTest, ActsByItselfUntilItIsStopped) {
  const auto guard = Open();
  guard->Start();
  proc_.SetAvailableMib(90);
  // A real clock: the load is asked, asked again, and killed.
  ASSERT_TRUE(load_.WaitForActs(3));
  guard->Stop();
  EXPECT_THAT(load_.told(), ElementsAre("shrink 150", "release", "kill"));
  EXPECT_GT(guard->cpu_time().count(), 0);
}

TEST_F(MemoryGuardTest, AStoppedGuardDoesNothingMore) {
  const auto guard = Open();
  guard->Start();
  guard->Stop();
  guard->Stop();
  proc_.SetAvailableMib(10);
  EXPECT_THAT(load_.acts(), IsEmpty());
}

TEST_F(MemoryGuardTest, SaysHowItLearnsOfStalls) {
  EXPECT_THAT(Open()->means(), HasSubstr("trigger on"));
  std::filesystem::remove_all(proc_.root() + "/proc/pressure");
  EXPECT_THAT(Open()->means(), HasSubstr("no stalls"));
}

TEST_F(MemoryGuardTest, AGuardWithoutAnythingToReadIsRefused) {
  GuardOptions options;
  options.root = "/nowhere";
  EXPECT_EQ(MemoryGuard::Open(options, &load_, &load_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(MemoryGuardTest, SaysWhyNoTriggersAreGranted) {
  EXPECT_EQ(WhyNoTriggers(proc_.root()), "");
  std::filesystem::remove(proc_.root() + "/proc/pressure/memory");
  EXPECT_EQ(WhyNoTriggers(proc_.root()), "") << "no stalls at all is said elsewhere";
  std::filesystem::create_directory(proc_.root() + "/proc/pressure/memory");
  EXPECT_THAT(WhyNoTriggers(proc_.root()), HasSubstr("only polls"));
}

// On the machine as it is: far from every threshold a thousandth of a processor is enough.
TEST(MemoryGuardOnThisMachineTest, CostsNextToNothingWhenFar) {
  const auto gauge = os::MemoryGauge::Open().value();
  if (gauge->Read()->available_percent() < 30) GTEST_SKIP() << "this machine is not far from anything";
  FakeLoad load;
  GuardOptions options;
  const auto guard = MemoryGuard::Open(options, &load, &load).value();
  const auto begun = base::RealClock().Monotonic();
  guard->Start();
  // Time is what is measured here.
  std::this_thread::sleep_for(std::chrono::seconds(3));
  guard->Stop();
  const double share = std::chrono::duration<double>(guard->cpu_time()).count() /
                       std::chrono::duration<double>(base::RealClock().Monotonic() - begun).count();
  RecordProperty("cpu_percent", std::to_string(share * 100));
  std::cout << "the guard took " << share * 100 << " % of a processor\n";
  EXPECT_LT(share, 0.005) << "five times the aim: the machine may be busy";
}

}  // namespace
}  // namespace ballast::guard
