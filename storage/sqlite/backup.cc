#include "storage/sqlite/backup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/next_step.h"
#include "common/base/partial_file.h"
#include "common/base/status.h"
#include "storage/sqlite/connection.h"
#include "storage/sqlite/database_lock.h"
#include "storage/sqlite/migrations.h"
#include "storage/sqlite/sqlite_status.h"

namespace ballast::storage {
namespace {

constexpr int kPagesPerStep = 1024;
// Stays free on the disk: whoever else writes there is not to be stopped by a copy.
constexpr std::uint64_t kReserveBytes = 16U << 20U;
// Instructions of SQLite between two reports of a check.
constexpr int kInstructionsPerReport = 2'000'000;

struct FinishBackup {
  void operator()(sqlite3_backup* backup) const { sqlite3_backup_finish(backup); }
};

std::uint64_t SizeOf(const std::filesystem::path& file) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  return error ? 0 : size;
}

std::filesystem::path DirectoryOf(const std::filesystem::path& file) {
  return file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
}

// A database that is being written under a name of its own; whatever is left under that name goes when this does.
class UnfinishedFile {
 public:
  explicit UnfinishedFile(std::filesystem::path path) : path_(std::move(path)) { Remove(); }
  UnfinishedFile(const UnfinishedFile&) = delete;
  UnfinishedFile& operator=(const UnfinishedFile&) = delete;
  ~UnfinishedFile() { Remove(); }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  // Makes it durable under its final name. ALREADY_EXISTS where there is something and `replace` is false.
  absl::Status Commit(const std::filesystem::path& name, bool replace) {
    {
      BALLAST_ASSIGN_OR_RETURN(const base::Fd fd, base::OpenFile(path_, O_RDWR));
      if (::fsync(fd.get()) != 0) return base::ErrnoStatus(errno, fmt::format("sync {}", path_.string()));
    }
    const unsigned flags = replace ? 0 : RENAME_NOREPLACE;
    if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, name.c_str(), flags) != 0) {
      return base::ErrnoStatus(errno, fmt::format("rename {} to {}", path_.string(), name.string()));
    }
    return base::SyncDirectory(DirectoryOf(name));
  }

 private:
  void Remove() const {
    std::error_code ignored;
    for (const char* suffix : {"", "-journal", "-wal", "-shm"}) {
      std::filesystem::remove(path_.string() + suffix, ignored);
    }
  }

  std::filesystem::path path_;
};

// The directories that are missing for a database and are made for it. Unless they are kept they go again, with the
// lock of the database, if they hold nothing else.
class MadeDirectories {
 public:
  explicit MadeDirectories(const std::filesystem::path& database) : lock_file_(LockFileOf(database)) {
    std::error_code error;
    std::filesystem::path directory = std::filesystem::absolute(DirectoryOf(database), error).lexically_normal();
    while (!error && !std::filesystem::exists(directory, error) && directory.has_relative_path()) {
      missing_.push_back(directory);
      directory = directory.parent_path();
    }
  }
  MadeDirectories(const MadeDirectories&) = delete;
  MadeDirectories& operator=(const MadeDirectories&) = delete;
  ~MadeDirectories() {
    std::error_code ignored;
    if (locked_ && !missing_.empty()) std::filesystem::remove(lock_file_, ignored);
    for (const std::filesystem::path& directory : missing_) std::filesystem::remove(directory, ignored);
  }

  // The lock is this process's.
  void Locked() { locked_ = true; }
  void Keep() { missing_.clear(); }

 private:
  const std::filesystem::path lock_file_;
  std::vector<std::filesystem::path> missing_;  // innermost first
  bool locked_ = false;
};

// Reports what a statement that takes long is doing, and interrupts it where that is asked for.
class ReportWhile {
 public:
  ReportWhile(Connection* connection, std::string_view stage, const OnProgress& progress)
      : connection_(connection), stage_(stage), progress_(progress) {
    sqlite3_progress_handler(connection_->handle(), kInstructionsPerReport, &ReportWhile::Report, this);
  }
  ReportWhile(const ReportWhile&) = delete;
  ReportWhile& operator=(const ReportWhile&) = delete;
  ~ReportWhile() { sqlite3_progress_handler(connection_->handle(), 0, nullptr, nullptr); }

  // The error that ended the statement, rather than that it was interrupted.
  [[nodiscard]] absl::Status Explain(absl::Status status) const { return asked_.ok() ? std::move(status) : asked_; }

 private:
  static int Report(void* self_pointer) {
    auto* const self = static_cast<ReportWhile*>(self_pointer);
    self->asked_ = self->progress_(self->stage_, 0, 0);
    return self->asked_.ok() ? 0 : 1;
  }

  Connection* const connection_;
  const std::string_view stage_;
  const OnProgress& progress_;
  absl::Status asked_;
};

absl::Status CheckWhole(Connection* connection, const std::filesystem::path& named, const OnProgress& progress) {
  const ReportWhile report(connection, "check", progress);
  const auto damaged = [&named](std::string_view what) {
    return absl::DataLossError(fmt::format("database {}: {}; restore a copy of the file", named.string(), what));
  };
  {
    BALLAST_ASSIGN_OR_RETURN(Statement check, connection->Prepare("PRAGMA integrity_check(1)"));
    const absl::StatusOr<bool> has_row = check.Step();
    if (!has_row.ok()) return report.Explain(has_row.status());
    if (!*has_row || check.Text(0) != "ok") return damaged(*has_row ? check.Text(0) : "it cannot be checked");
  }
  BALLAST_ASSIGN_OR_RETURN(Statement check, connection->Prepare("PRAGMA foreign_key_check"));
  const absl::StatusOr<bool> has_orphan = check.Step();
  if (!has_orphan.ok()) return report.Explain(has_orphan.status());
  if (*has_orphan) return damaged(fmt::format("table {} has rows that refer to nothing", check.Text(0)));
  return absl::OkStatus();
}

// Copies the pages of one moment. The read transaction is what keeps that moment: without it the copy would begin anew
// with every write of another program.
absl::Status CopyPages(Connection* source, Connection* target, const OnProgress& progress) {
  BALLAST_ASSIGN_OR_RETURN(Transaction moment, Transaction::Begin(source, Transaction::Kind::kRead));
  BALLAST_RETURN_IF_ERROR(source->QueryInt64("SELECT count(*) FROM sqlite_schema").status());
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t page_bytes, source->QueryInt64("PRAGMA page_size"));
  {
    const std::unique_ptr<sqlite3_backup, FinishBackup> backup(
        sqlite3_backup_init(target->handle(), "main", source->handle(), "main"));
    if (backup == nullptr) return SqliteStatus(target->handle(), sqlite3_extended_errcode(target->handle()));
    int code = SQLITE_OK;
    while (code == SQLITE_OK) {
      code = sqlite3_backup_step(backup.get(), kPagesPerStep);
      if (code != SQLITE_OK && code != SQLITE_DONE) return SqliteStatus(target->handle(), code);
      const auto total = static_cast<std::uint64_t>(sqlite3_backup_pagecount(backup.get()));
      const std::uint64_t done = total - static_cast<std::uint64_t>(sqlite3_backup_remaining(backup.get()));
      BALLAST_RETURN_IF_ERROR(progress("copy", done * static_cast<std::uint64_t>(page_bytes),
                                       total * static_cast<std::uint64_t>(page_bytes)));
    }
  }
  return moment.Commit();
}

// Opens a database of this program; whether all of it is sound is not looked at.
absl::StatusOr<Connection> OpenSource(const std::filesystem::path& from) {
  BALLAST_ASSIGN_OR_RETURN(Connection source, Connection::Open(from, Connection::Mode::kReadOnly));
  BALLAST_RETURN_IF_ERROR(CheckDatabase(&source, Migrations()));
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t tables, source.QueryInt64("SELECT count(*) FROM sqlite_schema"));
  if (tables == 0) {
    return absl::FailedPreconditionError(fmt::format("database {}: it is empty; name another file", from.string()));
  }
  return source;
}

// A checked copy under the name of `unfinished`.
absl::Status MakeCopy(const std::filesystem::path& from, const UnfinishedFile& unfinished, const OnProgress& progress) {
  BALLAST_ASSIGN_OR_RETURN(Connection source, OpenSource(from));
  BALLAST_ASSIGN_OR_RETURN(Connection target, Connection::Open(unfinished.path(), Connection::Mode::kReadWrite));
  BALLAST_RETURN_IF_ERROR(target.Execute("PRAGMA cell_size_check = ON"));
  BALLAST_RETURN_IF_ERROR(CopyPages(&source, &target, progress));
  // One file that can be carried away; a coordinator turns its log on again.
  BALLAST_RETURN_IF_ERROR(target.Execute("PRAGMA journal_mode = DELETE"));
  return CheckWhole(&target, from, progress);
}

absl::Status CheckIsThere(const std::filesystem::path& database) {
  std::error_code error;
  if (std::filesystem::is_regular_file(database, error)) return absl::OkStatus();
  return absl::NotFoundError(fmt::format("database {}: there is no such file", database.string()));
}

}  // namespace

absl::StatusOr<std::uint64_t> BackUpDatabase(const std::filesystem::path& database, const std::filesystem::path& copy,
                                             bool replace, const OnProgress& progress) {
  BALLAST_RETURN_IF_ERROR(CheckIsThere(database));
  std::error_code error;
  if (!std::filesystem::is_directory(DirectoryOf(copy), error)) {
    return base::WithNextStep(absl::NotFoundError(fmt::format("back up to {}: there is no directory {}", copy.string(),
                                                              DirectoryOf(copy).string())),
                              "make that directory, or name a file in one that exists");
  }
  if (std::filesystem::equivalent(database, copy, error) && !error) {
    return absl::InvalidArgumentError(fmt::format("{} is the database itself; name another file", copy.string()));
  }
  if (std::filesystem::exists(copy, error)) {
    if (!replace) return absl::AlreadyExistsError(fmt::format("{} exists already", copy.string()));
    if (!std::filesystem::is_regular_file(copy, error)) {
      return absl::FailedPreconditionError(fmt::format("{} is no file", copy.string()));
    }
  }
  const std::uint64_t size = SizeOf(database) + SizeOf(database.string() + "-wal");
  BALLAST_RETURN_IF_ERROR(base::WithContext(base::CheckDiskSpace(DirectoryOf(copy), size, kReserveBytes),
                                            fmt::format("back up to {}", copy.string())));
  UnfinishedFile unfinished(copy.string() + ".partial");
  BALLAST_RETURN_IF_ERROR(MakeCopy(database, unfinished, progress));
  BALLAST_RETURN_IF_ERROR(unfinished.Commit(copy, replace));
  return SizeOf(copy);
}

absl::Status RestoreDatabase(const std::filesystem::path& copy, const std::filesystem::path& database,
                             const OnProgress& progress) {
  BALLAST_RETURN_IF_ERROR(CheckIsThere(copy));
  absl::Status looked_at = OpenSource(copy).status();
  // What SQLite's error says to do is about a database that is in use.
  if (absl::IsDataLoss(looked_at)) {
    looked_at = absl::DataLossError(fmt::format("{} is no database, or a damaged one", copy.string()));
  }
  BALLAST_RETURN_IF_ERROR(looked_at);
  const std::filesystem::path directory = DirectoryOf(database);
  base::Fd lock;
  MadeDirectories made(database);  // goes before the lock does
  BALLAST_RETURN_IF_ERROR(base::EnsureWritableDirectory(directory, base::kPrivateDirectoryMode));
  BALLAST_ASSIGN_OR_RETURN(lock, LockDatabase(database));
  made.Locked();
  // A log without its database would be taken for one of the copy.
  for (const char* suffix : {"", "-wal", "-journal"}) {
    const std::filesystem::path file = database.string() + suffix;
    std::error_code error;
    if (std::filesystem::exists(file, error)) {
      return absl::AlreadyExistsError(
          fmt::format("{} exists already; move it away, or give another data directory", file.string()));
    }
  }
  BALLAST_RETURN_IF_ERROR(base::WithContext(base::CheckDiskSpace(directory, SizeOf(copy), kReserveBytes),
                                            fmt::format("restore {}", database.string())));
  UnfinishedFile unfinished(database.string() + ".partial");
  BALLAST_RETURN_IF_ERROR(MakeCopy(copy, unfinished, progress));
  BALLAST_RETURN_IF_ERROR(unfinished.Commit(database, false));
  made.Keep();
  return absl::OkStatus();
}

absl::StatusOr<CompactOutcome> CompactDatabase(const std::filesystem::path& database, const OnProgress& progress) {
  BALLAST_RETURN_IF_ERROR(CheckIsThere(database));
  BALLAST_ASSIGN_OR_RETURN(const base::Fd lock, LockDatabase(database));
  CompactOutcome outcome;
  UnfinishedFile unfinished(database.string() + ".partial");
  {
    BALLAST_ASSIGN_OR_RETURN(Connection connection, Connection::Open(database, Connection::Mode::kReadWrite));
    BALLAST_RETURN_IF_ERROR(CheckDatabase(&connection, Migrations()));
    BALLAST_RETURN_IF_ERROR(CheckWhole(&connection, database, progress));
    // Into one file without a log: a log that was left beside the new database would be taken for its own.
    BALLAST_RETURN_IF_ERROR(connection.Execute("PRAGMA journal_mode = DELETE"));
    outcome.bytes_before = SizeOf(database);
    BALLAST_RETURN_IF_ERROR(
        base::WithContext(base::CheckDiskSpace(DirectoryOf(database), outcome.bytes_before, kReserveBytes),
                          fmt::format("compact {}", database.string())));
    const ReportWhile report(&connection, "write anew", progress);
    BALLAST_RETURN_IF_ERROR(connection.Execute("PRAGMA auto_vacuum = INCREMENTAL"));
    BALLAST_ASSIGN_OR_RETURN(Statement vacuum, connection.Prepare("VACUUM INTO ?1"));
    vacuum.Bind(1, unfinished.path().string());
    BALLAST_RETURN_IF_ERROR(report.Explain(vacuum.Run()));
  }
  {
    BALLAST_ASSIGN_OR_RETURN(Connection written, Connection::Open(unfinished.path(), Connection::Mode::kReadOnly));
    BALLAST_RETURN_IF_ERROR(CheckDatabase(&written, Migrations()));
    BALLAST_RETURN_IF_ERROR(CheckWhole(&written, unfinished.path(), progress));
  }
  BALLAST_RETURN_IF_ERROR(unfinished.Commit(database, true));
  outcome.bytes_after = SizeOf(database);
  return outcome;
}

}  // namespace ballast::storage
