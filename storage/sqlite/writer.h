// The one thread that writes.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "storage/sqlite/connection.h"
#include "storage/store.h"

namespace ballast::storage {

// Owns the writing connection and the thread that uses it. Takes everything that is queued, commits it in one
// transaction, then tells how it went: under load many batches share one fsync. Thread-safe.
class Writer {
 public:
  explicit Writer(Connection connection);
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { Close(); }

  // Carries out what is queued and ends the thread; nothing may be written afterwards. Not from two threads at once.
  void Close();

  // As Store::Write.
  void Write(WriteBatch batch, std::function<void(absl::Status)> done);

 private:
  struct Pending {
    WriteBatch batch;
    std::function<void(absl::Status)> done;
    absl::Status outcome;
  };

  void Loop();
  // Commits all batches that can be, and notes each one's outcome.
  void CommitGroup(std::vector<Pending>* group);
  [[nodiscard]] absl::Status TryCommitGroup(std::vector<Pending>* group);
  [[nodiscard]] absl::Status ApplyBatch(const WriteBatch& batch);
  void CheckpointIfDue();

  Connection connection_;  // used by the thread alone
  int pages_in_log_ = 0;   // used by the thread alone
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Pending> queue_;  // guarded by mutex_
  bool closing_ = false;        // guarded by mutex_
  std::jthread thread_;
};

}  // namespace ballast::storage
