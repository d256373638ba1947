#include "storage/sqlite/sqlite_store.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "common/base/child_process.h"
#include "storage/sqlite/connection.h"
#include "tests/unit/storage/sqlite/scratch_directory.h"

namespace ballast::storage {
namespace {

using testing::HasSubstr;

absl::Status PutJobs(Store& store, int first, int count, std::size_t size = 10) {
  for (int i = first; i < first + count; ++i) {
    v1::Job job;
    job.set_job_id(fmt::format("j-{}", i));
    job.set_submitter(std::string(size, 'x'));
    if (absl::Status status = store.WriteAndWait({PutJob{job}}); !status.ok()) return status;
  }
  return absl::OkStatus();
}

int JobCount(Store& store) {
  v1::ListJobsRequest request;
  request.set_page_size(1000);
  const auto page = store.ListJobs(request);
  EXPECT_TRUE(page.ok()) << page.status().ToString();
  return page.ok() ? page->jobs_size() : -1;
}

std::string IntegrityOf(const std::filesystem::path& file) {
  auto connection = Connection::Open(file, Connection::Mode::kReadWrite);
  EXPECT_TRUE(connection.ok());
  auto statement = connection->Prepare("PRAGMA integrity_check");
  EXPECT_TRUE(statement.ok());
  EXPECT_TRUE(statement->Step().value());
  return std::string(statement->Text(0));
}

TEST(SqliteStoreTest, MakesItsDirectoryAndLeavesOneFileAndTheLock) {
  ScratchDirectory scratch;
  const std::filesystem::path file = scratch.path() / "a" / "b" / "ballast.db";
  {
    auto store = OpenSqliteStore(file);
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    ASSERT_TRUE(PutJobs(**store, 0, 5).ok());
  }
  EXPECT_TRUE(std::filesystem::exists(file));
  EXPECT_FALSE(std::filesystem::exists(file.string() + "-wal"));  // all of it is in the database
  EXPECT_EQ(IntegrityOf(file), "ok");
}

TEST(SqliteStoreTest, ASecondOpenerIsRefusedUntilTheFirstIsGone) {
  ScratchDirectory scratch;
  auto first = OpenSqliteStore(scratch.database());
  ASSERT_TRUE(first.ok());
  const auto second = OpenSqliteStore(scratch.database());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(scratch.database().string()));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(fmt::format("process {}", ::getpid())));
  EXPECT_TRUE(PutJobs(**first, 0, 1).ok());
  first->reset();
  EXPECT_TRUE(OpenSqliteStore(scratch.database()).ok());
}

TEST(SqliteStoreTest, ADirectoryThatCannotBeOneIsRefused) {
  ScratchDirectory scratch;
  std::ofstream(scratch.path() / "file") << "content";
  const auto store = OpenSqliteStore(scratch.path() / "file" / "ballast.db");
  EXPECT_FALSE(store.ok());
  EXPECT_THAT(std::string(store.status().message()), HasSubstr((scratch.path() / "file").string()));
}

TEST(SqliteStoreTest, ADirectoryWithoutPermissionIsRefused) {
  ScratchDirectory scratch;
  ASSERT_EQ(::chmod(scratch.path().c_str(), 0555), 0);
  // In a child, as root may do anything until it is nobody.
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(2);
    const auto store = OpenSqliteStore(scratch.database());
    const bool named = std::string(store.status().message()).find(scratch.path().string()) != std::string::npos;
    ::_exit(store.status().code() == absl::StatusCode::kPermissionDenied && named ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(::chmod(scratch.path().c_str(), 0755), 0);
}

TEST(SqliteStoreTest, AFileThatMayOnlyBeReadIsRefused) {
  ScratchDirectory scratch;
  ASSERT_TRUE(OpenSqliteStore(scratch.database()).ok());
  ASSERT_EQ(::chmod(scratch.path().c_str(), 0777), 0);
  ASSERT_EQ(::chmod((scratch.database().string() + ".lock").c_str(), 0666), 0);
  ASSERT_EQ(::chmod(scratch.database().c_str(), 0444), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(2);
    ::_exit(OpenSqliteStore(scratch.database()).status().code() == absl::StatusCode::kPermissionDenied ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(SqliteStoreTest, FilesThatAreNoLongerUsableAreNotTheClientsFault) {
  ScratchDirectory scratch;
  auto store = OpenSqliteStore(scratch.database());
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  ASSERT_TRUE(PutJobs(**store, 0, 1).ok());
  const std::string log = scratch.database().string() + "-wal";  // each reader opens it when it reads first
  std::filesystem::rename(log, log + ".away");
  std::filesystem::create_directory(log);
  const absl::Status status = (*store)->GetJob("j-0").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status.ToString();
  EXPECT_THAT(std::string(status.message()), HasSubstr("check the owner and the permissions"));
  std::filesystem::remove(log);
  std::filesystem::rename(log + ".away", log);
  EXPECT_TRUE((*store)->GetJob("j-0").ok());
}

// Limits the size of every file this process writes, as a full disk does, until it is destroyed.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(SqliteStoreTest, AFullDiskRefusesWritesAndHarmsNothing) {
  ScratchDirectory scratch;
  constexpr int kRoomy = 20;
  constexpr std::size_t kJobBytes = 256U << 10U;
  int stored = kRoomy;
  {
    auto opened = OpenSqliteStore(scratch.database());
    ASSERT_TRUE(opened.ok());
    Store& store = **opened;
    ASSERT_TRUE(PutJobs(store, 0, kRoomy).ok());
    {
      const FileSizeLimit limit(2U << 20U);
      absl::Status status;
      while ((status = PutJobs(store, stored, 1, kJobBytes)).ok()) ++stored;
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status.ToString();
      EXPECT_THAT(std::string(status.message()), HasSubstr(scratch.database().string()));
      EXPECT_THAT(std::string(status.message()), HasSubstr("goes on by itself"));
      EXPECT_GT(stored, kRoomy);
      EXPECT_LT(stored, 100);
      EXPECT_EQ(PutJobs(store, stored, 1, kJobBytes).code(), absl::StatusCode::kUnavailable);
      EXPECT_EQ(JobCount(store), stored);
      EXPECT_EQ(store.GetJob(fmt::format("j-{}", stored)).status().code(), absl::StatusCode::kNotFound);
    }
    EXPECT_TRUE(PutJobs(store, stored, 5, kJobBytes).ok());
    stored += 5;
    EXPECT_EQ(JobCount(store), stored);
  }
  EXPECT_EQ(IntegrityOf(scratch.database()), "ok");
  auto again = OpenSqliteStore(scratch.database());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(JobCount(**again), stored);
}

TEST(SqliteStoreTest, WhatWasReportedDoneSurvivesAKill) {
  ScratchDirectory scratch;
  int channel[2];
  ASSERT_EQ(::pipe(channel), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(channel[0]);
    auto store = OpenSqliteStore(scratch.database());
    if (!store.ok()) ::_exit(1);
    for (int i = 0;; ++i) {
      if (!PutJobs(**store, i, 1).ok()) ::_exit(2);
      if (::write(channel[1], &i, sizeof(i)) != sizeof(i)) ::_exit(3);
    }
  }
  ::close(channel[1]);
  int last = -1;
  while (last < 30 && ::read(channel[0], &last, sizeof(last)) == sizeof(last)) {
  }
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  int reported = 0;
  while (::read(channel[0], &reported, sizeof(reported)) == sizeof(reported)) last = reported;
  ::close(channel[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);

  auto store = OpenSqliteStore(scratch.database());  // the lock of the killed process is gone with it
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  EXPECT_GE(last, 30);
  EXPECT_GE(JobCount(**store), last + 1);
  for (int i = 0; i <= last; ++i) EXPECT_TRUE((*store)->GetJob(fmt::format("j-{}", i)).ok()) << i;
}

}  // namespace
}  // namespace ballast::storage
