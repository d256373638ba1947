#include "worker/agent/recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/worker/agent/agent_fixture.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using testing::SizeIs;

class RecoveryTest : public AgentFixture {
 protected:
  // An attempt that is cut off after 30 s, with its last second in a draft alone.
  void CutOffAttemptInMidRun() {
    OpenSpool();
    ASSERT_TRUE(spool_->Begin(key_, Started("boot-1")).ok());
    for (int second = 0; second < 29; ++second) {
      ASSERT_TRUE(spool_->AppendChunk(key_, ChunkAt(milliseconds(1000 * second), 10, second * 100)).ok());
    }
    const v1::Chunk growing = ChunkAt(milliseconds(29'000), 10, 2900);
    v1::RunResult so_far;
    so_far.set_sample_count(300);
    so_far.set_peak_held_bytes(5000);
    so_far.add_phases()->set_kind(v1::Phase::RAMP);
    spool_->SaveDraft(key_, &growing, so_far);
    Flush();
    OpenSpool();
  }

  v1::AttemptFinished Recover(const std::string& boot_id) {
    EndCutOffAttempts(cut_off_, boot_id, spool_.get());
    Flush();
    const std::vector<v1::Record> records = ReadAll();
    EXPECT_THAT(records, SizeIs(32));  // the beginning, 30 chunks, the end
    EXPECT_TRUE(records.back().has_finished());
    return records.back().finished();
  }
};

TEST_F(RecoveryTest, ARebootIsAResultWithEvidence) {
  CutOffAttemptInMidRun();
  const v1::AttemptFinished finished = Recover("boot-2");
  const v1::Outcome& outcome = finished.result().outcome();
  EXPECT_EQ(outcome.kind(), v1::DEVICE_REBOOTED);
  EXPECT_EQ(outcome.evidence().killer(), v1::UNKNOWN);
  EXPECT_EQ(outcome.evidence().start_boot_id(), "boot-1");
  EXPECT_EQ(outcome.evidence().end_boot_id(), "boot-2");
  EXPECT_EQ(outcome.evidence().held_bytes(), 2909U);
  const v1::SampleSeries& last = outcome.evidence().last_samples();
  EXPECT_EQ(last.offset_ms(last.offset_ms_size() - 1), 29'900);
  EXPECT_EQ(last.offset_ms(0), 19'900) << "ten seconds";
  EXPECT_EQ(finished.result().sample_count(), 300U);
  EXPECT_EQ(finished.result().peak_held_bytes(), 5000U);
  EXPECT_EQ(finished.result().phases_size(), 1);
  // By the device's clock, as far as it is known: the start and the last sample.
  EXPECT_EQ(base::FromProto(finished.end_time()), base::FromProto(Started().start_time()) + milliseconds(29'900));
}

TEST_F(RecoveryTest, WithoutARebootTheWorkerEnded) {
  CutOffAttemptInMidRun();
  const v1::AttemptFinished finished = Recover("boot-1");
  EXPECT_EQ(finished.result().outcome().kind(), v1::WORKER_CRASHED);
  EXPECT_EQ(finished.result().outcome().evidence().killer(), v1::UNKNOWN);
}

TEST_F(RecoveryTest, AnAttemptWithItsBeginningAloneEndsToo) {
  OpenSpool();
  ASSERT_TRUE(spool_->Begin(key_, Started("boot-1")).ok());
  OpenSpool();
  EndCutOffAttempts(cut_off_, "boot-2", spool_.get());
  Flush();
  const std::vector<v1::Record> records = ReadAll();
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(records[1].finished().result().outcome().kind(), v1::DEVICE_REBOOTED);
  EXPECT_EQ(records[1].finished().result().sample_count(), 0U);
  OpenSpool();
  EXPECT_TRUE(cut_off_.empty()) << "it has ended once and for all";
}

}  // namespace
}  // namespace ballast::agent
