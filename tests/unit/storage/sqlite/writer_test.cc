#include "storage/sqlite/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "storage/sqlite/sqlite_store.h"
#include "tests/unit/storage/sqlite/denial.h"
#include "tests/unit/storage/sqlite/scratch_directory.h"

namespace ballast::storage {
namespace {

class WriterTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(OpenSqliteStore(scratch_.database()).ok()); }

  Connection Open() { return Connection::Open(scratch_.database(), Connection::Mode::kReadWrite).value(); }

  // The fate of one batch, by a writer of its own.
  static absl::Status WriteAlone(Connection connection, WriteBatch batch) {
    absl::Status fate = absl::UnknownError("nothing was reported");
    Writer writer(std::move(connection));
    writer.Write(std::move(batch), [&fate](absl::Status status) { fate = std::move(status); });
    writer.Close();
    return fate;
  }

  static PutJob Job(const std::string& job_id) {
    PutJob put;
    put.job.set_job_id(job_id);
    return put;
  }

  ScratchDirectory scratch_;
};

TEST_F(WriterTest, NoHalfOfABatchIsCommittedWhenItCannotBeUndone) {
  Connection connection = Open();
  DenyUndoing(&connection);
  const absl::Status status = WriteAlone(std::move(connection), {Job("j-1"), Job("")});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status.ToString();
  EXPECT_EQ(Open().QueryInt64("SELECT count(*) FROM jobs").value(), 0);
}

TEST_F(WriterTest, WhatTheWriterIsDeniedIsNotDeniedToTheClient) {
  Connection connection = Open();
  DenyInserting(&connection);
  const absl::Status status = WriteAlone(std::move(connection), {Job("j-1")});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status.ToString();
}

}  // namespace
}  // namespace ballast::storage
