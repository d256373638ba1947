#include "worker/agent/peer_clock.h"

#include <gtest/gtest.h>

namespace ballast::agent {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr base::SystemTime kEpoch{seconds(1'700'000'000)};

nanoseconds OffsetOf(const v1::ClockOffset& offset) {
  return base::FromProto(offset.offset());
}
nanoseconds ErrorOf(const v1::ClockOffset& offset) {
  return base::FromProto(offset.error());
}

TEST(PeerClockTest, SaysNothingBeforeTheFirstReading) {
  EXPECT_FALSE(PeerClock().OffsetAt(kEpoch, seconds(1)).has_value());
}

TEST(PeerClockTest, AReadingBelongsToTheMiddleOfQuestionAndAnswer) {
  PeerClock clock;
  clock.Add(seconds(100), seconds(100) + milliseconds(80), kEpoch + seconds(7));
  const auto offset = clock.OffsetAt(kEpoch, seconds(100) + milliseconds(80));
  ASSERT_TRUE(offset.has_value());
  EXPECT_EQ(OffsetOf(*offset), seconds(7) + milliseconds(40));
  EXPECT_EQ(ErrorOf(*offset), milliseconds(40));
  EXPECT_EQ(base::FromProto(offset->age()), nanoseconds(0));
}

TEST(PeerClockTest, ADeviceClockThatIsSetMovesTheOffset) {
  PeerClock clock;
  clock.Add(seconds(100), seconds(100), kEpoch);
  EXPECT_EQ(OffsetOf(*clock.OffsetAt(kEpoch + seconds(10), seconds(110))), seconds(0));
  EXPECT_EQ(OffsetOf(*clock.OffsetAt(kEpoch - hours(1), seconds(110))), hours(1) + seconds(10));
}

TEST(PeerClockTest, TheErrorGrowsWithAge) {
  PeerClock clock;
  clock.Add(seconds(100), seconds(100), kEpoch);
  const auto offset = clock.OffsetAt(kEpoch, seconds(1100));
  EXPECT_EQ(ErrorOf(*offset), milliseconds(200));
  EXPECT_EQ(base::FromProto(offset->age()), seconds(1000));
}

TEST(PeerClockTest, ALateAnswerDoesNotReplaceABetterReading) {
  PeerClock clock;
  clock.Add(seconds(100), seconds(100) + milliseconds(2), kEpoch);
  clock.Add(seconds(130), seconds(134), kEpoch + seconds(31));  // waited for a disk
  EXPECT_LT(ErrorOf(*clock.OffsetAt(kEpoch + seconds(34), seconds(134))), milliseconds(10));
  clock.Add(seconds(160), seconds(160) + milliseconds(4), kEpoch + seconds(60));  // better than what has aged
  EXPECT_EQ(ErrorOf(*clock.OffsetAt(kEpoch + seconds(60), seconds(160) + milliseconds(4))), milliseconds(2));
}

TEST(PeerClockTest, AReadingThatContradictsTheOldOneIsBelieved) {
  PeerClock clock;
  clock.Add(seconds(100), seconds(100), kEpoch);
  clock.Add(seconds(130), seconds(131), kEpoch + hours(1));  // the coordinator's clock was set
  EXPECT_GT(OffsetOf(*clock.OffsetAt(kEpoch + seconds(31), seconds(131))), hours(1) - seconds(40));
}

TEST(PeerClockTest, ANewSessionBeginsAnew) {
  PeerClock clock;
  clock.Add(seconds(100), seconds(100), kEpoch);
  clock.BeginSession();
  EXPECT_TRUE(clock.OffsetAt(kEpoch, seconds(101)).has_value());  // the best that is known
  clock.Add(seconds(130), seconds(134), kEpoch + seconds(32));
  EXPECT_EQ(ErrorOf(*clock.OffsetAt(kEpoch, seconds(134))), seconds(2));
}

TEST(PeerClockTest, AnAnswerBeforeItsQuestionIsNone) {
  PeerClock clock;
  clock.Add(seconds(100), seconds(99), kEpoch);
  EXPECT_FALSE(clock.OffsetAt(kEpoch, seconds(100)).has_value());
}

}  // namespace
}  // namespace ballast::agent
