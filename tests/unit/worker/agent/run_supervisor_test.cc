#include "worker/agent/run_supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "tests/unit/worker/agent/run_fixture.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::SizeIs;

class RunSupervisorTest : public RunFixture {
 protected:
  void SetUp() override {
    OpenSpool();
    supervisor_ = std::make_unique<RunSupervisor>(options_, spool_.get());
    supervisor_->SetListener(this);
    on_progress_ = [this](const v1::RunProgress& progress) {
      if (progress.held_bytes() > 0 && !holds_) {
        holds_ = true;
        holding_.set_value();
      }
    };
  }
  void TearDown() override { supervisor_.reset(); }

  void StartLongRun() {
    supervisor_->Assign(LongRun());
    ASSERT_EQ(holding_.get_future().wait_for(kPatience), std::future_status::ready);
  }

  // Waits until nothing is going on: assignments are carried out in order.
  void StopSupervisor() { ASSERT_TRUE(supervisor_->Stop("the worker was stopped", kPatience)); }

  bool holds_ = false;
  std::promise<void> holding_;
  std::unique_ptr<RunSupervisor> supervisor_;
};

TEST_F(RunSupervisorTest, OneRunAtATime) {
  StartLongRun();
  EXPECT_EQ(supervisor_->active(), key_);
  std::vector<v1::AssignmentRejected> rejected;
  on_rejected_ = [&rejected](const v1::AssignmentRejected& one) { rejected.push_back(one); };
  supervisor_->Assign(LongRun());  // again the same: harmless
  v1::Assignment other = LongRun();
  other.set_run_id("j-test.2");
  supervisor_->Assign(other);
  ASSERT_THAT(rejected, SizeIs(1));
  EXPECT_EQ(rejected[0].run_id(), "j-test.2");
  EXPECT_EQ(rejected[0].outcome(), v1::OUTCOME_KIND_UNSPECIFIED) << "so that it goes back to the queue";
  EXPECT_THAT(rejected[0].reason(), HasSubstr("busy"));
  StopSupervisor();
}

TEST_F(RunSupervisorTest, CancelsTheRunThatIsNamedAndNoOther) {
  StartLongRun();
  supervisor_->Cancel({"j-test.2", 1}, v1::CANCELLED, "another run");
  supervisor_->Cancel({key_.run_id, 2}, v1::CANCELLED, "another attempt");
  EXPECT_EQ(supervisor_->active(), key_);
  supervisor_->Cancel(key_, v1::DEVICE_LOST, "the coordinator gave it up");
  StopSupervisor();
  Flush();
  const v1::Outcome outcome = ReadAll().back().finished().result().outcome();
  EXPECT_EQ(outcome.kind(), v1::DEVICE_LOST) << "the first wish counts";
  EXPECT_EQ(outcome.message(), "the coordinator gave it up");
}

TEST_F(RunSupervisorTest, AStopEndsTheRunAndRecordsIt) {
  StartLongRun();
  StopSupervisor();
  EXPECT_FALSE(supervisor_->active().has_value());
  Flush();
  const v1::Outcome outcome = ReadAll().back().finished().result().outcome();
  EXPECT_EQ(outcome.kind(), v1::WORKER_CRASHED) << "another attempt may follow: nobody cancelled it";
  EXPECT_EQ(outcome.message(), "the worker was stopped");
  EXPECT_EQ(outcome.evidence().killer(), v1::AGENT);
  std::vector<v1::AssignmentRejected> rejected;
  on_rejected_ = [&rejected](const v1::AssignmentRejected& one) { rejected.push_back(one); };
  v1::Assignment other = LongRun();
  other.set_run_id("j-test.2");
  supervisor_->Assign(other);
  EXPECT_THAT(rejected, SizeIs(1));
}

TEST_F(RunSupervisorTest, AnAttemptIsCarriedOutOnce) {
  StartLongRun();
  supervisor_->Cancel(key_, v1::CANCELLED, "enough");
  // The next assignment waits for the end of the first: refused until then.
  v1::Assignment next = Staircase(1, milliseconds(20));
  next.set_run_id("j-test.2");
  bool busy = false;
  on_rejected_ = [&busy](const v1::AssignmentRejected&) { busy = true; };
  do {
    busy = false;
    supervisor_->Assign(next);
    if (busy) std::this_thread::yield();
  } while (busy);
  // Of the first, all is acknowledged: the spool does not know it any more, but the supervisor does.
  Flush();
  std::vector<std::uint64_t> seqs(100);
  for (std::size_t i = 0; i < seqs.size(); ++i) seqs[i] = i + 1;
  spool_->Acknowledge(key_, seqs);
  ASSERT_FALSE(spool_->Contains(key_));
  supervisor_->Assign(LongRun());
  EXPECT_FALSE(busy) << "ignored, not refused";
  EXPECT_NE(supervisor_->active(), key_);
  EXPECT_FALSE(spool_->Contains(key_));
}

}  // namespace
}  // namespace ballast::agent
