#include "worker/agent/run_desk.h"

#include <gtest/gtest.h>

namespace ballast::agent {
namespace {

using Kind = AssignmentVerdict::Kind;

const AttemptKey kFirst{"j-a.1", 1};
const AttemptKey kSecond{"j-a.2", 1};

TEST(RunDeskTest, TakesOneAttemptAtATime) {
  RunDesk desk;
  EXPECT_EQ(desk.Judge(kFirst, false, false).kind, Kind::kTake);
  desk.Begin(kFirst);
  EXPECT_EQ(desk.active(), kFirst);
  EXPECT_EQ(desk.Judge(kFirst, false, false).kind, Kind::kIgnore);
  const AssignmentVerdict busy = desk.Judge(kSecond, false, false);
  EXPECT_EQ(busy.kind, Kind::kRefuse);
  EXPECT_EQ(busy.reason, "the worker is busy with j-a.1@1");
  desk.End(true);
  EXPECT_EQ(desk.Judge(kSecond, false, false).kind, Kind::kTake);
}

TEST(RunDeskTest, AnAttemptThatIsOrWasHereIsNotBegunAgain) {
  RunDesk desk;
  EXPECT_EQ(desk.Judge(kFirst, true, false).kind, Kind::kIgnore);
  desk.Begin(kFirst);
  desk.End(true);
  EXPECT_EQ(desk.Judge(kFirst, false, false).kind, Kind::kIgnore);  // also after its records are acknowledged and gone
  EXPECT_EQ(desk.Judge({kFirst.run_id, 2}, false, false).kind, Kind::kTake);
}

TEST(RunDeskTest, AnAttemptThatWasRefusedMayComeAgain) {
  RunDesk desk;
  desk.Begin(kFirst);
  desk.End(false);
  EXPECT_EQ(desk.Judge(kFirst, false, false).kind, Kind::kTake);
}

TEST(RunDeskTest, AWorkerThatStopsTakesNothing) {
  RunDesk desk;
  EXPECT_EQ(desk.Judge(kFirst, false, true).kind, Kind::kRefuse);
  EXPECT_EQ(desk.Judge(kFirst, true, true).kind, Kind::kIgnore);
}

}  // namespace
}  // namespace ballast::agent
