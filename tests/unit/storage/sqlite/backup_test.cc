#include "storage/sqlite/backup.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>
#include <utility>

#include "common/base/next_step.h"
#include "storage/sqlite/connection.h"
#include "storage/sqlite/sqlite_store.h"
#include "tests/unit/storage/sqlite/scratch_directory.h"

namespace ballast::storage {
namespace {

using testing::HasSubstr;

absl::Status Silent(std::string_view /*stage*/, std::uint64_t /*done*/, std::uint64_t /*total*/) {
  return absl::OkStatus();
}

class BackupTest : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path copy() const { return scratch_.path() / "copy.db"; }

  static void PutJob(Store& store, const std::string& job_id) {
    storage::PutJob put;
    put.job.set_job_id(job_id);
    ASSERT_TRUE(store.WriteAndWait({put}).ok());
  }

  // What is in the directory beside the database's own files.
  [[nodiscard]] std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(scratch_.path())) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("ballast.db")) names.push_back(name);
    }
    return names;
  }

  static bool HasJob(const std::filesystem::path& file, const std::string& job_id) {
    const auto store = OpenSqliteStore(file);
    return store.ok() && (*store)->GetJob(job_id).ok();
  }

  ScratchDirectory scratch_;
};

TEST_F(BackupTest, HoldsWhatWasWrittenBeforeAlsoWhileTheDatabaseIsInUse) {
  auto store = OpenSqliteStore(scratch_.database());
  ASSERT_TRUE(store.ok());
  PutJob(**store, "j-1");
  std::atomic<int> written = 0;
  std::jthread writer([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) PutJob(**store, fmt::format("j-w{}", written++));
  });
  while (written < 5) std::this_thread::yield();
  const int before = written - 1;
  const auto size = BackUpDatabase(scratch_.database(), copy(), false, Silent);
  writer.request_stop();
  writer.join();
  ASSERT_TRUE(size.ok()) << size.status().ToString();
  EXPECT_EQ(*size, std::filesystem::file_size(copy()));
  EXPECT_THAT(Files(), testing::ElementsAre("copy.db"));
  store->reset();
  EXPECT_TRUE(HasJob(copy(), "j-1"));
  EXPECT_TRUE(HasJob(copy(), fmt::format("j-w{}", before - 1)));
}

TEST_F(BackupTest, ReadsALogThatAKilledProgramLeft) {
  {
    auto store = OpenSqliteStore(scratch_.database());
    PutJob(**store, "j-1");
    for (const char* suffix : {"", "-wal"}) {
      std::filesystem::copy_file(scratch_.database().string() + suffix,
                                 (scratch_.path() / "killed.db").string() + suffix);
    }
  }
  ASSERT_TRUE(BackUpDatabase(scratch_.path() / "killed.db", copy(), false, Silent).ok());
  EXPECT_TRUE(HasJob(copy(), "j-1"));
}

TEST_F(BackupTest, ReplacesNothingUnasked) {
  PutJob(**OpenSqliteStore(scratch_.database()), "j-1");
  std::ofstream(copy()) << "mine";
  EXPECT_TRUE(absl::IsAlreadyExists(BackUpDatabase(scratch_.database(), copy(), false, Silent).status()));
  EXPECT_EQ(std::filesystem::file_size(copy()), 4);
  EXPECT_TRUE(BackUpDatabase(scratch_.database(), copy(), true, Silent).ok());
  EXPECT_TRUE(HasJob(copy(), "j-1"));
  EXPECT_TRUE(absl::IsInvalidArgument(BackUpDatabase(scratch_.database(), scratch_.database(), true, Silent).status()));
}

TEST_F(BackupTest, LeavesNothingWhenItIsBrokenOff) {
  PutJob(**OpenSqliteStore(scratch_.database()), "j-1");
  for (const std::string stage : {"copy", "check"}) {
    const auto status = BackUpDatabase(scratch_.database(), copy(), false,
                                       [&](std::string_view now, std::uint64_t, std::uint64_t) -> absl::Status {
                                         if (now == stage) return absl::CancelledError("enough");
                                         return absl::OkStatus();
                                       })
                            .status();
    // A small database is checked before anything is reported.
    EXPECT_TRUE(absl::IsCancelled(status) || (stage == "check" && status.ok())) << status.ToString();
    std::filesystem::remove(copy());
    EXPECT_THAT(Files(), testing::IsEmpty());
  }
}

TEST_F(BackupTest, RefusesADamagedDatabase) {
  {
    auto store = OpenSqliteStore(scratch_.database());
    for (int i = 0; i < 200; ++i) PutJob(**store, fmt::format("j-{:0200}", i));
  }
  const std::uintmax_t size = std::filesystem::file_size(scratch_.database());
  std::fstream file(scratch_.database(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(size / 2));
  file << std::string(4096, '\xa5');
  file.close();
  const absl::Status status = BackUpDatabase(scratch_.database(), copy(), false, Silent).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status.ToString();
  EXPECT_THAT(Files(), testing::IsEmpty());
}

TEST_F(BackupTest, IsRestoredWhereNothingIs) {
  PutJob(**OpenSqliteStore(scratch_.database()), "j-1");
  ASSERT_TRUE(BackUpDatabase(scratch_.database(), copy(), false, Silent).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(RestoreDatabase(copy(), scratch_.database(), Silent)));
  const std::filesystem::path place = scratch_.path() / "new" / "ballast.db";
  const absl::Status restored = RestoreDatabase(copy(), place, Silent);
  ASSERT_TRUE(restored.ok()) << restored.ToString();
  EXPECT_TRUE(HasJob(place, "j-1"));
}

TEST_F(BackupTest, IsNotRestoredUnderARunningProgram) {
  PutJob(**OpenSqliteStore(scratch_.database()), "j-1");
  ASSERT_TRUE(BackUpDatabase(scratch_.database(), copy(), false, Silent).ok());
  const auto store = OpenSqliteStore(scratch_.database());
  const absl::Status status = RestoreDatabase(copy(), scratch_.database(), Silent);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status.ToString();
  EXPECT_THAT(std::string(status.message()), HasSubstr("is in use by process"));
}

TEST_F(BackupTest, OnlyDatabasesOfThisProgramAreRestored) {
  std::ofstream(copy()) << "no database";
  const std::filesystem::path place = scratch_.path() / "new" / "deep" / "ballast.db";
  EXPECT_TRUE(absl::IsDataLoss(RestoreDatabase(copy(), place, Silent)));
  EXPECT_THAT(Files(), testing::ElementsAre("copy.db"));
  std::filesystem::remove(copy());
  ASSERT_TRUE(Connection::Open(copy(), Connection::Mode::kReadWrite)->Execute("CREATE TABLE other (a)").ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(RestoreDatabase(copy(), place, Silent)));
  EXPECT_FALSE(std::filesystem::exists(place));
}

TEST_F(BackupTest, ARestoreOfWhichNothingComesLeavesNothing) {
  PutJob(**OpenSqliteStore(scratch_.database()), "j-1");
  ASSERT_TRUE(BackUpDatabase(scratch_.database(), copy(), false, Silent).ok());
  const std::filesystem::path place = scratch_.path() / "new" / "deep" / "ballast.db";
  const auto cancel = [](std::string_view, std::uint64_t, std::uint64_t) { return absl::CancelledError("enough"); };
  EXPECT_TRUE(absl::IsCancelled(RestoreDatabase(copy(), place, cancel)));
  EXPECT_THAT(Files(), testing::ElementsAre("copy.db"));
  // What was there before stays.
  std::filesystem::create_directory(scratch_.path() / "new");
  EXPECT_TRUE(absl::IsCancelled(RestoreDatabase(copy(), place, cancel)));
  EXPECT_THAT(Files(), testing::UnorderedElementsAre("copy.db", "new"));
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path() / "new"));
}

TEST_F(BackupTest, ADirectoryThatIsMissingIsNamedWithItsNextStep) {
  PutJob(**OpenSqliteStore(scratch_.database()), "j-1");
  const std::filesystem::path directory = scratch_.path() / "nope";
  const absl::Status status = BackUpDatabase(scratch_.database(), directory / "1.db", false, Silent).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status.ToString();
  EXPECT_THAT(std::string(status.message()), HasSubstr("there is no directory " + directory.string()));
  EXPECT_THAT(base::NextStepOf(status).value_or(""), HasSubstr("make that directory"));
}

TEST_F(BackupTest, CompactingTakesFreeSpaceOutAndLetsItGoLater) {
  {
    // As an earlier version made it.
    auto connection = Connection::Open(scratch_.database(), Connection::Mode::kReadWrite);
    ASSERT_TRUE(connection
                    ->Execute("PRAGMA auto_vacuum = NONE; CREATE TABLE schema_version (version INTEGER NOT NULL, "
                              "oldest_compatible_version INTEGER NOT NULL) STRICT; DROP TABLE schema_version")
                    .ok());
  }
  {
    auto store = OpenSqliteStore(scratch_.database());
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    EXPECT_FALSE((*store)->GetSpaceUse()->can_release);
    storage::PutJob put;
    put.job.set_job_id("j-1");
    put.job.set_state(v1::Job::FINISHED);
    put.job.mutable_spec()->set_display_name(std::string(4U << 20U, 'x'));
    ASSERT_TRUE((*store)->WriteAndWait({put}).ok());
    put.job.set_job_id("j-2");
    ASSERT_TRUE((*store)->WriteAndWait({put, DeleteJob{"j-1"}}).ok());
    EXPECT_TRUE(absl::IsFailedPrecondition(CompactDatabase(scratch_.database(), Silent).status()));
  }
  const auto outcome = CompactDatabase(scratch_.database(), Silent);
  ASSERT_TRUE(outcome.ok()) << outcome.status().ToString();
  EXPECT_LT(outcome->bytes_after, outcome->bytes_before - (3U << 20U));
  EXPECT_TRUE(HasJob(scratch_.database(), "j-2"));
  EXPECT_TRUE((*OpenSqliteStore(scratch_.database()))->GetSpaceUse()->can_release);
  EXPECT_THAT(Files(), testing::IsEmpty());
}

}  // namespace
}  // namespace ballast::storage
