#include "storage/sqlite/migrations.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/unit/storage/sqlite/scratch_directory.h"

namespace ballast::storage {
namespace {

using testing::HasSubstr;

constexpr Migration kFirst = {.version = 1,
                              .oldest_compatible_version = 1,
                              .sql =
                                  "CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;"
                                  "CREATE TABLE child (id INTEGER REFERENCES parent (id)) STRICT;"};
constexpr Migration kAddColumn = {.version = 2,
                                  .oldest_compatible_version = 1,
                                  .sql = "ALTER TABLE parent ADD COLUMN name TEXT NOT NULL DEFAULT 'none';"};
constexpr Migration kChangeMeaning = {
    .version = 3, .oldest_compatible_version = 3, .sql = "UPDATE parent SET name = upper(name);"};

class MigrationsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = Connection::Open(scratch_.database(), Connection::Mode::kReadWrite);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    connection_ = std::make_unique<Connection>(std::move(opened).value());
  }

  void Execute(const std::string& sql) {
    const absl::Status status = connection_->Execute(sql);
    ASSERT_TRUE(status.ok()) << status.ToString();
  }

  // What opening a database does.
  absl::Status Update(const std::vector<Migration>& migrations) {
    const absl::Status status = CheckDatabase(connection_.get(), migrations);
    return status.ok() ? Migrate(connection_.get(), migrations) : status;
  }

  std::int64_t Version() { return connection_->QueryInt64("SELECT version FROM schema_version").value_or(-1); }

  // A database as another version of this program left it.
  void MakeDatabase(int version, int oldest_compatible_version) {
    Execute(fmt::format(
        "PRAGMA application_id = {};"
        "CREATE TABLE schema_version (version INTEGER NOT NULL, oldest_compatible_version INTEGER NOT NULL) STRICT;"
        "INSERT INTO schema_version VALUES ({}, {});"
        "CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;"
        "CREATE TABLE child (id INTEGER REFERENCES parent (id)) STRICT;"
        "INSERT INTO parent VALUES (42);",
        kApplicationId, version, oldest_compatible_version));
  }

  ScratchDirectory scratch_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(MigrationsTest, AnEmptyDatabaseGetsEveryStep) {
  ASSERT_TRUE(Update({kFirst, kAddColumn, kChangeMeaning}).ok());
  EXPECT_EQ(Version(), 3);
  EXPECT_EQ(connection_->QueryInt64("PRAGMA application_id").value(), kApplicationId);
  Execute("INSERT INTO parent (id) VALUES (1)");
}

TEST_F(MigrationsTest, AnOlderDatabaseGetsTheMissingSteps) {
  MakeDatabase(1, 1);
  ASSERT_TRUE(Update({kFirst, kAddColumn, kChangeMeaning}).ok());
  EXPECT_EQ(Version(), 3);
  EXPECT_EQ(connection_->QueryInt64("SELECT id FROM parent WHERE name = 'NONE'").value(), 42);
  EXPECT_EQ(connection_->QueryInt64("SELECT oldest_compatible_version FROM schema_version").value(), 3);
  ASSERT_TRUE(Update({kFirst, kAddColumn, kChangeMeaning}).ok());  // and nothing a second time
  EXPECT_EQ(Version(), 3);
}

TEST_F(MigrationsTest, ANewerDatabaseIsRefusedUntouched) {
  MakeDatabase(9, 8);
  const absl::Status status = Update({kFirst, kAddColumn});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr(scratch_.database().string()));
  EXPECT_THAT(message, HasSubstr("version 9"));
  EXPECT_THAT(message, HasSubstr("up to 2"));
  EXPECT_THAT(message, HasSubstr("install a newer"));
  EXPECT_EQ(Version(), 9);
}

TEST_F(MigrationsTest, ANewerDatabaseThatSuitsIsTakenAsItIs) {
  MakeDatabase(9, 2);
  EXPECT_TRUE(Update({kFirst, kAddColumn}).ok());
  EXPECT_EQ(Version(), 9);
}

TEST_F(MigrationsTest, DatabasesOfOthersAreRefusedUntouched) {
  Execute("CREATE TABLE theirs (id INTEGER)");
  EXPECT_EQ(Update({kFirst}).code(), absl::StatusCode::kFailedPrecondition);
  Execute("PRAGMA application_id = 1234");
  const absl::Status status = Update({kFirst});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("another program"));
  EXPECT_EQ(connection_->QueryInt64("SELECT count(*) FROM sqlite_schema").value(), 1);
}

TEST_F(MigrationsTest, AMissingVersionIsDamage) {
  Execute(fmt::format("PRAGMA application_id = {}", kApplicationId));
  EXPECT_EQ(Update({kFirst}).code(), absl::StatusCode::kDataLoss);
  MakeDatabase(1, 1);
  Execute("DELETE FROM schema_version");
  EXPECT_EQ(Update({kFirst}).code(), absl::StatusCode::kDataLoss);
}

TEST_F(MigrationsTest, AStepThatFailsLeavesTheVersionBefore) {
  MakeDatabase(1, 1);
  const Migration broken = {.version = 3,
                            .oldest_compatible_version = 3,
                            .sql = "CREATE TABLE more (id INTEGER); INSERT INTO nowhere VALUES (1);"};
  const absl::Status status = Update({kFirst, kAddColumn, broken});
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("from schema version 2 to 3"));
  EXPECT_EQ(Version(), 2);
  EXPECT_EQ(connection_->QueryInt64("SELECT count(*) FROM sqlite_schema WHERE name = 'more'").value(), 0);
}

TEST_F(MigrationsTest, AStepMayNotLeaveRowsThatReferToNothing) {
  MakeDatabase(1, 1);
  const Migration orphaning = {.version = 2, .oldest_compatible_version = 2, .sql = "INSERT INTO child VALUES (7);"};
  const absl::Status status = Update({kFirst, orphaning});
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("child"));
  EXPECT_EQ(Version(), 1);
}

TEST_F(MigrationsTest, TheRealStepsHaveNoGapsAndSensibleVersions) {
  int version = 0;
  for (const Migration& migration : Migrations()) {
    EXPECT_GT(migration.version, version);
    version = migration.version;
    EXPECT_GE(migration.oldest_compatible_version, 1);
    EXPECT_LE(migration.oldest_compatible_version, migration.version);
  }
  ASSERT_TRUE(Update({Migrations().begin(), Migrations().end()}).ok());
  EXPECT_EQ(Version(), version);
}

}  // namespace
}  // namespace ballast::storage
