#include "storage/sqlite/writer.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <utility>

#include "common/base/status.h"
#include "storage/sqlite/mutations.h"
#include "storage/sqlite/sqlite_status.h"

namespace ballast::storage {
namespace {

// Pages in the write-ahead log from which on they are moved into the database: between two groups, when the
// acknowledgements are out, and not inside COMMIT, where SQLite's own checkpoint would make everyone wait for it.
constexpr int kCheckpointPages = 4000;

// Whether a failure is about one batch: what it says or refers to. Anything else is about the database, and with it
// about the whole transaction.
bool IsAboutTheBatch(absl::StatusCode code) {
  return code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kFailedPrecondition ||
         code == absl::StatusCode::kAlreadyExists;
}

}  // namespace

Writer::Writer(Connection connection) : connection_(std::move(connection)) {
  // Takes the place of SQLite's own checkpoint.
  sqlite3_wal_hook(
      connection_.handle(),
      [](void* pages_in_log, sqlite3* /*database*/, const char* /*name*/, int pages) {
        *static_cast<int*>(pages_in_log) = pages;
        return SQLITE_OK;
      },
      &pages_in_log_);
  thread_ = std::jthread([this] { Loop(); });
}

void Writer::Close() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Writer::Write(WriteBatch batch, std::function<void(absl::Status)> done) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back({std::move(batch), std::move(done), absl::OkStatus()});
  }
  changed_.notify_one();
}

void Writer::Loop() {
  std::vector<Pending> group;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      group.swap(queue_);
    }
    CommitGroup(&group);
    for (Pending& pending : group) {
      if (pending.done) pending.done(std::move(pending.outcome));
    }
    group.clear();
    CheckpointIfDue();
  }
}

void Writer::CommitGroup(std::vector<Pending>* group) {
  const absl::Status status = AfterOpening(TryCommitGroup(group));
  if (status.ok()) return;
  for (Pending& pending : *group) {
    if (!IsAboutTheBatch(pending.outcome.code())) pending.outcome = status;
  }
}

absl::Status Writer::TryCommitGroup(std::vector<Pending>* group) {
  BALLAST_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(&connection_, Transaction::Kind::kWrite));
  for (Pending& pending : *group) {
    pending.outcome = ApplyBatch(pending.batch);
    if (!pending.outcome.ok() && !IsAboutTheBatch(pending.outcome.code())) return pending.outcome;
    // Some failures make SQLite end the whole transaction: nothing more may be written then, as each statement would be
    // committed alone.
    if (!connection_.in_transaction()) {
      return absl::UnavailableError(
          fmt::format("database {}: the transaction was ended by an error; try again", connection_.file()));
    }
  }
  return transaction.Commit();
}

absl::Status Writer::ApplyBatch(const WriteBatch& batch) {
  BALLAST_ASSIGN_OR_RETURN(Savepoint savepoint, Savepoint::Begin(&connection_));
  for (const Mutation& mutation : batch) {
    const absl::Status status = Apply(&connection_, mutation);
    if (status.ok()) continue;
    BALLAST_RETURN_IF_ERROR(savepoint.Undo());  // is about the whole group then
    return status;
  }
  return savepoint.Keep();
}

void Writer::CheckpointIfDue() {
  if (pages_in_log_ < kCheckpointPages) return;
  // Passive, so that it never waits for a reader. What it cannot move yet, or not at all on a full disk, stays safe in
  // the log until the next time, so that its result does not matter.
  sqlite3_wal_checkpoint_v2(connection_.handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
}

}  // namespace ballast::storage
