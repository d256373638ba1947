#include "worker/agent/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <future>

#include "common/base/file.h"
#include "tests/unit/worker/agent/spool_fixture.h"
#include "worker/agent/frame.h"
#include "worker/agent/spool_reader.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// The machine's disk; remembers what was made durable.
class RecordingDisk final : public SpoolDisk {
 public:
  absl::Status EnsureDirectory(const std::filesystem::path& path) override { return real_.EnsureDirectory(path); }
  absl::Status MakeDirectory(const std::filesystem::path& path) override { return real_.MakeDirectory(path); }
  absl::Status SyncDirectory(const std::filesystem::path& path) override {
    synced.push_back(path.filename().string());
    return real_.SyncDirectory(path);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::filesystem::path& path) override { return real_.List(path); }
  absl::StatusOr<std::string> Read(const std::filesystem::path& path, std::size_t max_bytes) override {
    return real_.Read(path, max_bytes);
  }
  absl::StatusOr<std::string> ReadAt(const std::filesystem::path& path, std::uint64_t offset,
                                     std::size_t size) override {
    return real_.ReadAt(path, offset, size);
  }
  absl::Status WriteFrom(const std::filesystem::path& path, std::uint64_t offset, std::string_view data) override {
    synced.push_back(path.filename().string());
    return real_.WriteFrom(path, offset, data);
  }
  absl::Status Remove(const std::filesystem::path& path) override { return real_.Remove(path); }
  absl::Status Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return real_.Rename(from, to);
  }
  std::vector<Aside> ListByAge(const std::filesystem::path& path) override { return real_.ListByAge(path); }

  std::vector<std::string> synced;

 private:
  SpoolDisk& real_ = RealSpoolDisk();
};

TEST_F(SpoolTest, WhatAnEarlierProcessLeftIsMadeDurableBeforeItIsHandedOut) {
  OpenSpool();
  BeginAttempt();
  AppendChunks(2);
  Flush();
  const std::uintmax_t whole = std::filesystem::file_size(AttemptDirectory(key_) / SegmentFileName(2));
  // As a process leaves it that dies in a write: nobody synced this.
  std::ofstream(AttemptDirectory(key_) / SegmentFileName(2), std::ios::app) << "torn";
  RecordingDisk disk;
  OpenSpool({.disk = &disk, .own_thread = false});
  EXPECT_THAT(disk.synced, ElementsAre(SegmentFileName(2), ToText(key_)));
  EXPECT_EQ(std::filesystem::file_size(AttemptDirectory(key_) / SegmentFileName(2)), whole);
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(1, 2, 3));
  spool_.reset();  // before its disk
}

TEST_F(SpoolTest, ASpoolWithoutAThreadWritesWhenItIsTold) {
  OpenSpool({.own_thread = false});
  BeginAttempt();  // writes for itself
  AppendChunks(2);
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(1));
  EXPECT_GT(spool_->undelivered_bytes(), spool_->unacknowledged_bytes());
  EXPECT_TRUE(spool_->WriteQueued());
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(1, 2, 3));
  EXPECT_EQ(spool_->undelivered_bytes(), spool_->unacknowledged_bytes());
  AppendChunks(1);
  Flush();  // and so does this
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(1, 2, 3, 4));
}

TEST_F(SpoolTest, HandsOutInOrderWhatWasAppended) {
  OpenSpool();
  BeginAttempt();
  AppendChunks(3);
  ASSERT_TRUE(spool_->Finish(key_, Finished()).ok());
  Flush();
  const std::vector<v1::Record> records = ReadAll();
  EXPECT_THAT(SeqsOf(records), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_TRUE(records[0].has_started());
  EXPECT_EQ(records[0].run_id(), key_.run_id);
  EXPECT_EQ(records[0].attempt(), key_.attempt);
  EXPECT_EQ(records[2].chunk().header().start_offset().seconds(), 1);
  EXPECT_TRUE(metrics::ValidateChunk(records[2].chunk()).ok());
  EXPECT_TRUE(records[4].has_finished());
}

TEST_F(SpoolTest, TheFirstRecordIsOnDiskWhenBeginReturns) {
  OpenSpool();
  BeginAttempt();
  EXPECT_GT(std::filesystem::file_size(AttemptDirectory(key_) / SegmentFileName(1)), kFrameHeaderBytes);
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(1));
}

TEST_F(SpoolTest, AnAttemptHasOneBeginningAndOneEnd) {
  OpenSpool();
  EXPECT_EQ(spool_->AppendChunk(key_, ChunkAt({})).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(spool_->Begin({"../evil", 1}, Started()).code(), absl::StatusCode::kInvalidArgument);
  BeginAttempt();
  EXPECT_EQ(spool_->Begin(key_, Started()).code(), absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(spool_->Finish(key_, Finished()).ok());
  EXPECT_EQ(spool_->AppendChunk(key_, ChunkAt({})).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(spool_->Finish(key_, Finished()).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SpoolTest, ComesBackAfterARestart) {
  OpenSpool();
  BeginAttempt();
  AppendChunks(2);
  Flush();
  const std::uint64_t bytes = spool_->unacknowledged_bytes();
  OpenSpool();
  EXPECT_EQ(spool_->unacknowledged_bytes(), bytes);
  ASSERT_THAT(cut_off_, SizeIs(1));
  EXPECT_EQ(cut_off_[0].key, key_);
  EXPECT_EQ(cut_off_[0].started.boot_id(), "boot-1");
  EXPECT_FALSE(cut_off_[0].result_so_far.has_value());
  ASSERT_TRUE(spool_->Finish(key_, Finished(v1::WORKER_CRASHED)).ok());
  Flush();
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(1, 2, 3, 4));
  OpenSpool();
  EXPECT_THAT(cut_off_, IsEmpty());
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(1, 2, 3, 4));
}

TEST_F(SpoolTest, ATailTornAnywhereIsCutOffAndTheLogGoesOnBehindIt) {
  OpenSpool();
  BeginAttempt();
  AppendChunks(2);
  Flush();
  spool_.reset();
  const std::filesystem::path segment = AttemptDirectory(key_) / SegmentFileName(2);
  const std::string whole = base::ReadFile(segment).value();
  const std::size_t second = kFrameHeaderBytes + FrameAt(whole, 0)->size();
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    std::ofstream(segment, std::ios::trunc) << whole.substr(0, length);
    const absl::StatusOr<AttemptFiles> files = ReadAttemptFiles(&RealSpoolDisk(), AttemptDirectory(key_), key_);
    ASSERT_TRUE(files.ok()) << files.status();
    const std::uint64_t next = length == whole.size() ? 4 : length >= second ? 3 : 2;
    ASSERT_EQ(files->next_seq, next) << length;
  }
  for (const std::size_t length : {std::size_t{0}, std::size_t{5}, second - 1, second, second + 1, whole.size() - 1}) {
    std::ofstream(segment, std::ios::trunc) << whole.substr(0, length);
    OpenSpool();
    AppendChunks(1);
    Flush();
    const std::vector<v1::Record> records = ReadAll();
    EXPECT_THAT(records, SizeIs(length >= second ? 3 : 2)) << length;
    EXPECT_EQ(records.back().seq(), records.size()) << length;
    spool_.reset();
  }
}

TEST_F(SpoolTest, NoFlippedBitBringsUpAnotherRecord) {
  OpenSpool();
  BeginAttempt();
  AppendChunks(2);
  ASSERT_TRUE(spool_->Finish(key_, Finished()).ok());
  Flush();
  std::vector<std::string> originals;
  for (const v1::Record& record : ReadAll()) originals.push_back(record.SerializeAsString());
  spool_.reset();
  const std::filesystem::path segment = AttemptDirectory(key_) / SegmentFileName(2);
  const std::string whole = base::ReadFile(segment).value();
  for (std::size_t byte = 0; byte < whole.size(); ++byte) {
    std::string bytes = whole;
    bytes[byte] = static_cast<char>(bytes[byte] ^ (1 << (byte % 8)));
    std::ofstream(segment, std::ios::trunc) << bytes;
    const absl::StatusOr<AttemptFiles> files = ReadAttemptFiles(&RealSpoolDisk(), AttemptDirectory(key_), key_);
    ASSERT_TRUE(files.ok()) << files.status();
    EXPECT_THAT(files->damage, testing::Not(IsEmpty())) << byte;
    for (const SegmentEntry& entry : files->segments.back().entries) {
      ASSERT_EQ(FrameAt(bytes, entry.offset), originals[entry.seq - 1]) << byte;
    }
  }
}

TEST_F(SpoolTest, AnAttemptWithoutItsBeginningIsSetAside) {
  OpenSpool();
  BeginAttempt();
  AppendChunks(1);
  Flush();
  spool_.reset();
  std::ofstream(AttemptDirectory(key_) / SegmentFileName(1), std::ios::trunc) << "not a record";
  OpenSpool();
  EXPECT_THAT(spool_->Held(), IsEmpty());
  EXPECT_TRUE(std::filesystem::exists(directory_ / "set_aside" / ToText(key_) / SegmentFileName(2)));
}

TEST_F(SpoolTest, AnAttemptThatWasCutOffBeforeItBeganIsForgotten) {
  std::filesystem::create_directories(AttemptDirectory(key_));
  std::ofstream(AttemptDirectory(key_) / SegmentFileName(1)) << "\x10";
  OpenSpool();
  EXPECT_THAT(spool_->Held(), IsEmpty());
  EXPECT_THAT(cut_off_, IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(AttemptDirectory(key_)));
}

TEST_F(SpoolTest, ADraftBecomesARecordOfTheAttemptThatWasCutOff) {
  OpenSpool();
  BeginAttempt();
  AppendChunks(1);
  v1::RunResult so_far;
  so_far.set_peak_held_bytes(77);
  for (int samples = 1; samples <= 3; ++samples) {  // the third is written over the first
    const v1::Chunk growing = ChunkAt(milliseconds(1000), samples);
    so_far.set_sample_count(static_cast<std::uint64_t>(3 + samples));
    spool_->SaveDraft(key_, &growing, so_far);
    Flush();
  }
  OpenSpool();
  ASSERT_THAT(cut_off_, SizeIs(1));
  ASSERT_TRUE(cut_off_[0].result_so_far.has_value());
  EXPECT_EQ(cut_off_[0].result_so_far->peak_held_bytes(), 77U);
  EXPECT_EQ(cut_off_[0].result_so_far->sample_count(), 6U);
  Flush();
  const std::vector<v1::Record> records = ReadAll();
  EXPECT_THAT(SeqsOf(records), ElementsAre(1, 2, 3));
  EXPECT_EQ(records[2].chunk().header().sample_count(), 3U);
}

TEST_F(SpoolTest, ADraftWhoseChunkIsInTheLogIsNotTakenTwice) {
  OpenSpool();
  BeginAttempt();
  const v1::Chunk growing = ChunkAt(milliseconds(0), 2);
  spool_->SaveDraft(key_, &growing, {});
  Flush();
  AppendChunks(1);
  Flush();
  OpenSpool();
  Flush();
  const std::vector<v1::Record> records = ReadAll();
  EXPECT_THAT(SeqsOf(records), ElementsAre(1, 2));
  EXPECT_EQ(records[1].chunk().header().sample_count(), 3U);
}

TEST_F(SpoolTest, AnOlderDraftStandsInForOneThatIsTorn) {
  OpenSpool();
  BeginAttempt();
  for (int samples = 1; samples <= 2; ++samples) {
    const v1::Chunk growing = ChunkAt(milliseconds(0), samples);
    v1::RunResult so_far;
    so_far.set_sample_count(static_cast<std::uint64_t>(samples));
    spool_->SaveDraft(key_, &growing, so_far);
    Flush();
  }
  spool_.reset();
  std::filesystem::resize_file(AttemptDirectory(key_) / DraftFileName(1), 20);
  OpenSpool();
  Flush();
  ASSERT_TRUE(cut_off_.at(0).result_so_far.has_value());
  EXPECT_EQ(cut_off_[0].result_so_far->sample_count(), 1U);
  EXPECT_EQ(ReadAll().back().chunk().header().sample_count(), 1U);
}

TEST_F(SpoolTest, AcknowledgedRecordsAreNotHandedOutAgain) {
  OpenSpool();
  BeginAttempt();
  AppendChunks(3);
  Flush();
  const std::uint64_t bytes = spool_->unacknowledged_bytes();
  Acknowledge({1, 3, 3, 99});
  EXPECT_LT(spool_->unacknowledged_bytes(), bytes);
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(2, 4));
}

TEST_F(SpoolTest, SegmentsGoWhenAllOfThemIsAcknowledged) {
  OpenSpool({.directory = {}, .segment_bytes = 1});  // a record a segment
  BeginAttempt();
  AppendChunks(4);
  Flush();
  ASSERT_THAT(SegmentFiles(), SizeIs(5));
  Acknowledge({1, 2, 4});
  Flush();
  EXPECT_THAT(SegmentFiles(), ElementsAre(SegmentFileName(1), SegmentFileName(3), SegmentFileName(5)));
  // The log's place is kept, also where everything but its ends is gone.
  Acknowledge({3, 5});
  OpenSpool();
  ASSERT_THAT(cut_off_, SizeIs(1));
  AppendChunks(1);
  Flush();
  EXPECT_EQ(ReadAll().back().seq(), 6U);
}

TEST_F(SpoolTest, TheAttemptGoesWithTheLastAcknowledgement) {
  OpenSpool();
  BeginAttempt();
  AppendChunks(1);
  ASSERT_TRUE(spool_->Finish(key_, Finished()).ok());
  Flush();
  Acknowledge({2, 3});
  EXPECT_TRUE(spool_->Contains(key_)) << "record 1 is not acknowledged";
  Acknowledge({1});
  EXPECT_FALSE(spool_->Contains(key_));
  Flush();
  EXPECT_FALSE(std::filesystem::exists(AttemptDirectory(key_)));
  EXPECT_EQ(spool_->unacknowledged_bytes(), 0U);
  EXPECT_EQ(spool_->total_bytes(), 0U);
}

TEST_F(SpoolTest, RejectedRecordsAreSetAside) {
  OpenSpool();
  BeginAttempt();
  AppendChunks(1);
  Flush();
  spool_->SetAside(key_, "no such run");
  EXPECT_THAT(ReadAll(), IsEmpty());
  EXPECT_EQ(spool_->AppendChunk(key_, ChunkAt({})).code(), absl::StatusCode::kFailedPrecondition);
  Flush();
  EXPECT_TRUE(std::filesystem::exists(directory_ / "set_aside" / ToText(key_) / SegmentFileName(2)));
  EXPECT_EQ(spool_->unacknowledged_bytes(), 0U);
  OpenSpool();
  EXPECT_THAT(cut_off_, IsEmpty());
}

TEST_F(SpoolTest, WhatIsSetAsideDoesNotGrowForEver) {
  OpenSpool({.directory = {}, .quota_bytes = 8000});
  std::vector<AttemptKey> keys;
  for (std::uint32_t attempt = 1; attempt <= 12; ++attempt) {
    keys.push_back({"j-test.1", attempt});
    BeginAttempt(keys.back());
    ASSERT_TRUE(spool_->AppendChunk(keys.back(), ChunkAt({}, 20)).ok());
    Flush();
    spool_->SetAside(keys.back(), "no such run");
    Flush();
  }
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_ / "set_aside")) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  EXPECT_LE(bytes, 2000U);
  EXPECT_GT(bytes, 0U);
}

TEST_F(SpoolTest, TheQuotaRefusesChunksButNeverTheEnd) {
  OpenSpool({.directory = {}, .quota_bytes = 2000});
  BeginAttempt();
  absl::Status status;
  int taken = 0;
  while (status.ok() && taken < 1000) {
    status = spool_->AppendChunk(key_, ChunkAt(milliseconds(1000 * taken)));
    if (status.ok()) ++taken;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("quota"));
  ASSERT_TRUE(spool_->Finish(key_, Finished()).ok());
  Flush();
  EXPECT_LE(spool_->total_bytes(), 2100U);
  const std::vector<v1::Record> records = ReadAll();
  EXPECT_THAT(records, SizeIs(static_cast<std::size_t>(taken) + 2));
  EXPECT_TRUE(records.back().has_finished());
}

TEST_F(SpoolTest, WhatIsAcknowledgedLeavesRoomAtTheSmallestQuota) {
  constexpr std::uint64_t kSmallestQuota = 1U << 20U;
  OpenSpool({.directory = {}, .quota_bytes = kSmallestQuota});
  BeginAttempt();
  v1::Chunk chunk;
  chunk.set_body(std::string(60'000, 'x'));
  for (std::uint64_t seq = 2; seq < 52; ++seq) {  // nearly three times the quota
    const absl::Status status = spool_->AppendChunk(key_, chunk);
    ASSERT_TRUE(status.ok()) << seq << ": " << status;
    Flush();
    Acknowledge({seq});
    ASSERT_LE(spool_->total_bytes(), kSmallestQuota / 4);
  }
}

TEST_F(SpoolTest, ReadersSeeEachRecordOnceUntilTheyRewind) {
  OpenSpool();
  const AttemptKey other{"j-test.0", 1};
  BeginAttempt();
  SpoolReader reader(spool_.get());
  EXPECT_EQ(reader.Next()->run_id(), key_.run_id);
  EXPECT_FALSE(reader.Next().has_value());
  BeginAttempt(other);  // sorts before what was read
  EXPECT_EQ(reader.Next()->run_id(), other.run_id);
  AppendChunks(1);
  Flush();
  EXPECT_EQ(reader.Next()->seq(), 2U);
  EXPECT_FALSE(reader.Next().has_value());
  reader.Rewind();
  EXPECT_EQ(reader.Next()->run_id(), other.run_id);
  EXPECT_EQ(reader.Next()->run_id(), key_.run_id);
}

TEST_F(SpoolTest, ARecordThatRotsOnDiskDoesNotHoldUpTheOthers) {
  OpenSpool();
  BeginAttempt();
  AppendChunks(2);
  Flush();
  const std::filesystem::path segment = AttemptDirectory(key_) / SegmentFileName(2);
  std::string bytes = base::ReadFile(segment).value();
  bytes[kFrameHeaderBytes + 4] = static_cast<char>(bytes[kFrameHeaderBytes + 4] ^ 1);
  std::fstream(segment, std::ios::in | std::ios::out | std::ios::binary) << bytes;
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(1, 3));
  ASSERT_TRUE(spool_->Finish(key_, Finished()).ok());
  Flush();
  Acknowledge({1, 3, 4});
  EXPECT_FALSE(spool_->Contains(key_)) << "the lost record would keep the attempt for ever";
}

TEST_F(SpoolTest, ARecordWhoseFileIsGoneDoesNotHoldUpTheOthers) {
  OpenSpool({.directory = {}, .segment_bytes = 1});
  BeginAttempt();
  AppendChunks(3);
  Flush();
  std::filesystem::remove(AttemptDirectory(key_) / SegmentFileName(3));
  EXPECT_THAT(SeqsOf(ReadAll()), ElementsAre(1, 2, 4));
  ASSERT_TRUE(spool_->Finish(key_, Finished()).ok());
  Flush();
  Acknowledge({1, 2, 4, 5});
  EXPECT_FALSE(spool_->Contains(key_));
}

TEST_F(SpoolTest, TellsWhenRecordsAreDurable) {
  OpenSpool();
  std::promise<void> told;
  spool_->SetListener([this, &told, once = std::make_shared<std::once_flag>()] {
    if (ReadAll().size() == 1) std::call_once(*once, [&told] { told.set_value(); });
  });
  BeginAttempt();
  EXPECT_EQ(told.get_future().wait_for(kPatience), std::future_status::ready);
  spool_->SetListener(nullptr);
}

TEST_F(SpoolTest, ThreadsMayAppendReadAndAcknowledgeAtOnce) {
  OpenSpool({.directory = {}, .segment_bytes = 2000});
  BeginAttempt();
  constexpr int kChunks = 200;
  std::promise<void> finished;
  std::jthread sender([this, &finished] {
    SpoolReader reader(spool_.get());
    std::uint64_t expected = 1;
    while (expected <= kChunks + 2) {
      const std::optional<v1::Record> record = reader.Next();
      if (!record) {
        std::this_thread::yield();
        continue;
      }
      EXPECT_EQ(record->seq(), expected);
      expected = record->seq() + 1;
      const std::array<std::uint64_t, 1> seqs = {record->seq()};
      spool_->Acknowledge(key_, seqs);
    }
    finished.set_value();
  });
  AppendChunks(kChunks);
  ASSERT_TRUE(spool_->Finish(key_, Finished()).ok());
  ASSERT_EQ(finished.get_future().wait_for(kPatience), std::future_status::ready);
  Flush();
  EXPECT_EQ(spool_->total_bytes(), 0U);
}

}  // namespace
}  // namespace ballast::agent
