#include "storage/sqlite/sqlite_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <string>
#include <utility>

namespace ballast::storage {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

class SqliteStatusCodeTest : public testing::TestWithParam<std::pair<int, StatusCode>> {};

TEST_P(SqliteStatusCodeTest, Maps) {
  EXPECT_EQ(SqliteStatusCode(GetParam().first), GetParam().second);
}

INSTANTIATE_TEST_SUITE_P(
    Codes, SqliteStatusCodeTest,
    testing::Values(
        std::pair(SQLITE_OK, StatusCode::kOk), std::pair(SQLITE_FULL, StatusCode::kUnavailable),
        std::pair(SQLITE_IOERR, StatusCode::kUnavailable), std::pair(SQLITE_IOERR_FSYNC, StatusCode::kUnavailable),
        std::pair(SQLITE_BUSY, StatusCode::kUnavailable), std::pair(SQLITE_BUSY_SNAPSHOT, StatusCode::kUnavailable),
        std::pair(SQLITE_LOCKED, StatusCode::kUnavailable), std::pair(SQLITE_NOMEM, StatusCode::kUnavailable),
        std::pair(SQLITE_CORRUPT, StatusCode::kDataLoss), std::pair(SQLITE_CORRUPT_INDEX, StatusCode::kDataLoss),
        std::pair(SQLITE_NOTADB, StatusCode::kDataLoss),
        std::pair(SQLITE_CONSTRAINT_FOREIGNKEY, StatusCode::kFailedPrecondition),
        std::pair(SQLITE_CONSTRAINT_UNIQUE, StatusCode::kAlreadyExists),
        std::pair(SQLITE_CONSTRAINT_PRIMARYKEY, StatusCode::kAlreadyExists),
        std::pair(SQLITE_CONSTRAINT_NOTNULL, StatusCode::kInvalidArgument),
        std::pair(SQLITE_CONSTRAINT_DATATYPE, StatusCode::kInvalidArgument),
        std::pair(SQLITE_TOOBIG, StatusCode::kInvalidArgument),
        std::pair(SQLITE_READONLY_DBMOVED, StatusCode::kPermissionDenied),
        std::pair(SQLITE_CANTOPEN, StatusCode::kPermissionDenied), std::pair(SQLITE_MISUSE, StatusCode::kInternal),
        std::pair(SQLITE_ERROR, StatusCode::kInternal)));

TEST(SqliteStatusTest, NamesTheFileTheCauseAndTheNextStep) {
  const std::string message(SqliteStatus("/data/ballast.db", SQLITE_FULL, "disk is full").message());
  EXPECT_THAT(message, HasSubstr("/data/ballast.db"));
  EXPECT_THAT(message, HasSubstr("disk is full"));
  EXPECT_THAT(message, HasSubstr("free some disk space"));
  EXPECT_THAT(std::string(SqliteStatus("f", SQLITE_CORRUPT_VTAB, "malformed").message()), HasSubstr("restore a copy"));
}

}  // namespace
}  // namespace ballast::storage
