#include "worker/agent/recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/worker/agent/agent_fixture.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
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

  v1::AttemptFinished Recover(const std::string& boot_id, std::optional<base::SystemTime> boot_time = std::nullopt) {
    EndCutOffAttempts(cut_off_, {.boot_id = boot_id, .boot_time = boot_time, .crash_records = {"dmesg-efi-1"}},
                      spool_.get());
    Flush();
    const std::vector<v1::Record> records = ReadAll();
    EXPECT_THAT(records, SizeIs(32));  // the beginning, 30 chunks, the end
    EXPECT_TRUE(records.back().has_finished());
    return records.back().finished();
  }
};

TEST_F(RecoveryTest, ARebootIsAResultWithEvidence) {
  CutOffAttemptInMidRun();
  const v1::AttemptFinished finished =
      Recover("boot-2", base::FromProto(Started().start_time()) + milliseconds(42'400));
  const v1::Outcome& outcome = finished.result().outcome();
  EXPECT_EQ(outcome.kind(), v1::DEVICE_REBOOTED);
  EXPECT_EQ(outcome.evidence().killer(), v1::UNKNOWN);
  EXPECT_EQ(outcome.evidence().start_boot_id(), "boot-1");
  EXPECT_EQ(outcome.evidence().end_boot_id(), "boot-2");
  EXPECT_EQ(outcome.evidence().held_bytes(), 2909U);
  EXPECT_THAT(
      outcome.evidence().findings(),
      ElementsAre("boot identifier: boot-1 when the run began, boot-2 now",
                  "spool: the last sample is from 29.9 s after the start, 1970-01-12T13:47:09Z by the device's "
                  "clock",
                  HasSubstr("the runner held 2.84 KiB"),
                  "uptime: the device booted at 1970-01-12T13:47:22Z by its clock, 12.5 s after the last sample",
                  HasSubstr("dmesg-efi-1")));
  const v1::SampleSeries& last = outcome.evidence().last_samples();
  EXPECT_EQ(last.offset_ms(last.offset_ms_size() - 1), 29'900);
  EXPECT_EQ(last.offset_ms(0), 19'900) << "ten seconds";
  EXPECT_EQ(finished.result().sample_count(), 300U);
  EXPECT_EQ(finished.result().peak_held_bytes(), 5000U);
  EXPECT_EQ(finished.result().phases_size(), 1);
  // By the device's clock, as far as it is known: the start and the last sample.
  EXPECT_EQ(base::FromProto(finished.end_time()), base::FromProto(Started().start_time()) + milliseconds(29'900));
}

TEST_F(RecoveryTest, AClockThatWasSetBackIsNoTimeOfABoot) {
  CutOffAttemptInMidRun();
  EXPECT_THAT(Recover("boot-2", base::FromProto(Started().start_time())).result().outcome().evidence().findings(),
              Contains(HasSubstr("the clock was set back")));
}

TEST_F(RecoveryTest, WithoutABootIdentifierNoRebootIsClaimed) {
  CutOffAttemptInMidRun();
  const v1::Outcome outcome = Recover("").result().outcome();
  EXPECT_EQ(outcome.kind(), v1::WORKER_CRASHED);
  EXPECT_THAT(outcome.evidence().findings(), Contains(HasSubstr("could not be seen")));
}

TEST_F(RecoveryTest, BootFactsAreThoseOfTheMachine) {
  const auto write = [this](const std::string& path, const std::string& content) {
    std::filesystem::create_directories((directory_ / path).parent_path());
    std::ofstream(directory_ / path) << content;
  };
  write("proc/uptime", "12.50 40.00\n");
  write("proc/sys/kernel/random/boot_id", "boot-3\n");
  write("sys/fs/pstore/dmesg-ramoops-0", "Panic#1\n");
  const auto before = base::RealClock().Now();
  const BootFacts facts = ReadBootFacts(directory_.string());
  EXPECT_EQ(facts.boot_id, "boot-3");
  ASSERT_TRUE(facts.boot_time.has_value());
  EXPECT_GE(*facts.boot_time, before - milliseconds(12'500));
  EXPECT_LE(*facts.boot_time, base::RealClock().Now() - milliseconds(12'500));
  EXPECT_THAT(facts.crash_records, ElementsAre("dmesg-ramoops-0"));
  EXPECT_FALSE(ReadBootFacts((directory_ / "nothing").string()).boot_time.has_value());
}

TEST_F(RecoveryTest, WithoutARebootTheWorkerEnded) {
  CutOffAttemptInMidRun();
  const v1::AttemptFinished finished = Recover("boot-1");
  EXPECT_EQ(finished.result().outcome().kind(), v1::WORKER_CRASHED);
  EXPECT_THAT(finished.result().outcome().evidence().findings(),
              ElementsAre("boot identifier: boot-1 as when the run began", HasSubstr("29.9 s after the start"),
                          HasSubstr("the runner held")));
  EXPECT_EQ(finished.result().outcome().evidence().killer(), v1::UNKNOWN);
}

TEST_F(RecoveryTest, AnAttemptWithItsBeginningAloneEndsToo) {
  OpenSpool();
  ASSERT_TRUE(spool_->Begin(key_, Started("boot-1")).ok());
  OpenSpool();
  EndCutOffAttempts(cut_off_, {.boot_id = "boot-2", .boot_time = {}, .crash_records = {}}, spool_.get());
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
