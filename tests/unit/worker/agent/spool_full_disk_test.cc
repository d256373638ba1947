// The spool on a disk that takes nothing more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "common/base/file.h"
#include "tests/unit/worker/agent/spool_fixture.h"
#include "worker/agent/spool.h"
#include "worker/agent/spool_files.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::SizeIs;

// A limit on the size of files stands in for a disk that takes nothing more.
class FullDisk {
 public:
  FullDisk() {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
};

using SpoolFullDiskTest = SpoolTest;

TEST_F(SpoolFullDiskTest, ADiskThatTakesNothingRefusesTheBeginning) {
  OpenSpool();
  {
    const FullDisk full;
    EXPECT_FALSE(spool_->Begin(key_, Started(), kPatience).ok());
    EXPECT_FALSE(spool_->Contains(key_));
  }
  Flush();
  EXPECT_FALSE(std::filesystem::exists(AttemptDirectory(key_)));
  EXPECT_FALSE(spool_->disk_status().ok()) << "what was given up says nothing of the disk";
  BeginAttempt();
  EXPECT_TRUE(spool_->disk_status().ok());
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(1));
}

TEST_F(SpoolFullDiskTest, WhatIsAcknowledgedLeavesAlsoADiskThatTakesNothing) {
  OpenSpool({.directory = {}, .segment_bytes = 1, .own_thread = false});
  BeginAttempt();
  AppendChunks(4);
  ASSERT_TRUE(spool_->WriteQueued());
  ASSERT_THAT(SegmentFiles(), SizeIs(5));
  {
    const FullDisk full;
    AppendChunks(1);
    EXPECT_FALSE(spool_->WriteQueued());
    Acknowledge({2, 3});
    EXPECT_FALSE(spool_->WriteQueued());
    EXPECT_THAT(SegmentFiles(),
                ElementsAre(SegmentFileName(1), SegmentFileName(4), SegmentFileName(5), SegmentFileName(6)));
  }
  EXPECT_TRUE(spool_->WriteQueued());
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(1, 4, 5, 6));
}

TEST_F(SpoolFullDiskTest, RecordsWaitForADiskThatIsFullAndKeepTheirOrder) {
  OpenSpool({.directory = {}, .queue_bytes = 3000});
  BeginAttempt();
  int taken = 0;
  {
    const FullDisk full;
    absl::Status status;
    while (status.ok() && taken < 1000) {
      status = spool_->AppendChunk(key_, ChunkAt(milliseconds(1000 * taken)));
      if (status.ok()) ++taken;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_FALSE(spool_->Flush(milliseconds(1)).ok());
    EXPECT_THAT(ReadAll(), SizeIs(1)) << "nothing is handed out that is not on disk";
    ASSERT_TRUE(spool_->Finish(key_, Finished()).ok());
  }
  Flush();
  EXPECT_TRUE(spool_->disk_status().ok());
  const std::vector<v1::Record> records = ReadAll();
  ASSERT_THAT(records, SizeIs(static_cast<std::size_t>(taken) + 2));
  for (std::size_t i = 0; i < records.size(); ++i) EXPECT_EQ(records[i].seq(), i + 1);
  OpenSpool();
  EXPECT_THAT(ReadAll(), SizeIs(static_cast<std::size_t>(taken) + 2));
}

TEST_F(SpoolFullDiskTest, ADraftThatFailsLeavesTheYoungestWholeOne) {
  OpenSpool();
  BeginAttempt();
  v1::RunResult so_far;
  so_far.set_sample_count(1);
  spool_->SaveDraft(key_, nullptr, so_far);
  Flush();
  {
    const FullDisk full;
    for (std::uint64_t samples = 2; samples <= 3; ++samples) {
      so_far.set_sample_count(samples);
      spool_->SaveDraft(key_, nullptr, so_far);
      Flush();
    }
  }
  OpenSpool();
  ASSERT_TRUE(cut_off_.at(0).result_so_far.has_value());
  EXPECT_EQ(cut_off_[0].result_so_far->sample_count(), 1U);
}

TEST_F(SpoolFullDiskTest, ADraftThatWasReplacedBeforeItWasWrittenTakesNoTurn) {
  OpenSpool();
  BeginAttempt();
  v1::RunResult so_far;
  spool_->SaveDraft(key_, nullptr, so_far);
  Flush();
  const std::string youngest = base::ReadFile(AttemptDirectory(key_) / DraftFileName(0)).value();
  {
    const FullDisk full;
    AppendChunks(1);  // the drafts wait behind it
    for (std::uint64_t samples = 1; samples <= 2; ++samples) {
      so_far.set_sample_count(samples);
      spool_->SaveDraft(key_, nullptr, so_far);
    }
  }
  Flush();
  EXPECT_EQ(base::ReadFile(AttemptDirectory(key_) / DraftFileName(0)).value(), youngest);
  OpenSpool();
  EXPECT_EQ(cut_off_.at(0).result_so_far->sample_count(), 2U);
}

}  // namespace
}  // namespace ballast::agent
