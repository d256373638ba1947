// Databases that are not what they should be.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "common/base/file.h"
#include "storage/sqlite/connection.h"
#include "storage/sqlite/sqlite_store.h"
#include "tests/unit/storage/sqlite/scratch_directory.h"

namespace ballast::storage {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

constexpr std::size_t kPageSize = 4096;

// Fills a database with some of everything and closes it.
void MakeDatabase(const std::filesystem::path& file) {
  auto store = OpenSqliteStore(file);
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  v1::Device device;
  device.set_device_id("d-1");
  (*device.mutable_labels())["class"] = "a";
  v1::Job job;
  job.set_job_id("j-1");
  job.set_state(v1::Job::RUNNING);
  WriteBatch batch = {PutDevice{device}, PutJob{job}};
  for (int i = 1; i <= 100; ++i) {
    v1::Run run;
    run.set_run_id(fmt::format("j-1.{}", i));
    run.set_job_id("j-1");
    run.set_device_id("d-1");
    run.mutable_create_time()->set_seconds(i);
    batch.push_back(PutRun{run});
    PutChunk chunk{.run_id = run.run_id(), .attempt = 1, .seq = 1, .chunk = {}};
    chunk.chunk.set_body(std::string(5000, 'x'));
    v1::MetricSummary* const summary = chunk.chunk.mutable_header()->add_summaries();
    summary->set_metric_id(1);
    summary->set_count(1);
    batch.push_back(chunk);
  }
  ASSERT_TRUE((*store)->WriteAndWait(batch).ok());
}

// Opens the database, reads everything and writes; the first failure.
absl::Status UseEverything(const std::filesystem::path& file) {
  auto opened = OpenSqliteStore(file);
  if (!opened.ok()) return opened.status();
  Store& store = **opened;
  const auto state = store.LoadOpenState();
  if (!state.ok()) return state.status();
  v1::ListRunsRequest request;
  request.set_page_size(1000);
  const auto runs = store.ListRuns(request);
  if (!runs.ok()) return runs.status();
  (*request.mutable_filter()->mutable_labels())["class"] = "a";
  if (const auto labelled = store.ListRuns(request); !labelled.ok()) return labelled.status();
  for (const v1::Run& run : runs->runs()) {
    const absl::Status status =
        store.ReadChunks(run.run_id(), 1, [](std::uint64_t, const v1::Chunk&) { return absl::OkStatus(); });
    if (!status.ok()) return status;
    if (const auto rollups = store.GetRollups(run.run_id(), 1); !rollups.ok()) return rollups.status();
  }
  v1::Job job;
  job.set_job_id("j-2");
  return store.WriteAndWait({PutJob{job}});
}

void ExpectDamaged(const std::filesystem::path& file) {
  const absl::Status status = UseEverything(file);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status.ToString();
  EXPECT_THAT(std::string(status.message()), HasSubstr(file.string()));
  EXPECT_THAT(std::string(status.message()), HasSubstr("restore a copy"));
}

class SqliteStoreDamageTest : public testing::Test {
 protected:
  std::string Content() { return base::ReadFile(scratch_.database()).value(); }
  void SetContent(const std::string& content) {
    std::ofstream(scratch_.database(), std::ios::binary | std::ios::trunc) << content;
  }

  ScratchDirectory scratch_;
};

TEST_F(SqliteStoreDamageTest, WhatIsNoDatabaseIsRefusedUntouched) {
  const std::string text = std::string(5000, 'n') + "ot a database";
  SetContent(text);
  ExpectDamaged(scratch_.database());
  EXPECT_EQ(Content(), text);
}

TEST_F(SqliteStoreDamageTest, ADatabaseOfAnotherProgramIsRefusedUntouched) {
  {
    auto connection = Connection::Open(scratch_.database(), Connection::Mode::kReadWrite);
    ASSERT_TRUE(connection->Execute("CREATE TABLE theirs (id INTEGER)").ok());
  }
  const std::string before = Content();
  const auto store = OpenSqliteStore(scratch_.database());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("another program"));
  EXPECT_EQ(Content(), before);
}

TEST_F(SqliteStoreDamageTest, ANewerDatabaseIsRefused) {
  ASSERT_TRUE(OpenSqliteStore(scratch_.database()).ok());
  {
    auto connection = Connection::Open(scratch_.database(), Connection::Mode::kReadWrite);
    ASSERT_TRUE(connection->Execute("UPDATE schema_version SET version = 900, oldest_compatible_version = 800").ok());
  }
  const auto store = OpenSqliteStore(scratch_.database());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("version 900"));
  EXPECT_THAT(std::string(store.status().message()), HasSubstr(scratch_.database().string()));
}

TEST_F(SqliteStoreDamageTest, ATruncatedDatabaseIsRefused) {
  MakeDatabase(scratch_.database());
  const std::string whole = Content();
  for (const std::size_t size : {whole.size() / 2, whole.size() - kPageSize, kPageSize, std::size_t{1000}}) {
    SetContent(whole.substr(0, size));
    ExpectDamaged(scratch_.database());
  }
}

TEST_F(SqliteStoreDamageTest, DamagedPagesAreFoundWhenTheyAreUsed) {
  MakeDatabase(scratch_.database());
  const std::string whole = Content();
  std::mt19937 random(17);
  int found = 0;
  for (int round = 0; round < 40; ++round) {
    std::string damaged = whole;
    const std::size_t page = 1 + random() % (whole.size() / kPageSize - 1);
    for (std::size_t i = 0; i < kPageSize; ++i) damaged[page * kPageSize + i] = static_cast<char>(random());
    SetContent(damaged);
    const absl::Status status = UseEverything(scratch_.database());
    // A page that holds nothing but the middle of a chunk's body looks fine here; the chunk's own CRC tells.
    EXPECT_THAT(status.code(), AnyOf(absl::StatusCode::kOk, absl::StatusCode::kDataLoss)) << status.ToString();
    found += status.code() == absl::StatusCode::kDataLoss ? 1 : 0;
  }
  EXPECT_GE(found, 10);
}

TEST_F(SqliteStoreDamageTest, FlippedBitsAreSurvived) {
  MakeDatabase(scratch_.database());
  const std::string whole = Content();
  std::mt19937 random(18);
  for (int round = 0; round < 60; ++round) {
    std::string damaged = whole;
    // Most of them where the structure is: in the header of the file and of the pages.
    for (int i = 0; i < 8; ++i) {
      const std::size_t page = random() % (whole.size() / kPageSize);
      damaged[page * kPageSize + random() % 128] ^= static_cast<char>(1U << (random() % 8));
    }
    SetContent(damaged);
    std::filesystem::remove(scratch_.database().string() + "-wal");
    const absl::Status status = UseEverything(scratch_.database());
    EXPECT_THAT(status.code(), AnyOf(absl::StatusCode::kOk, absl::StatusCode::kDataLoss,
                                     absl::StatusCode::kFailedPrecondition, absl::StatusCode::kPermissionDenied))
        << status.ToString();
  }
}

}  // namespace
}  // namespace ballast::storage
