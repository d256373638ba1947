// The digests of files that belong to somebody else, computed once.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "ballast/v1/model.pb.h"

namespace ballast::models {

// A digest counts as long as path, size, time of the last change and inode stay what they were. Kept in one file, so
// that it is computed once and not at each start. Thread-safe.
class DigestCache {
 public:
  // What is kept in `file` is read; a file that cannot be read counts as empty, since all of it can be computed again.
  explicit DigestCache(std::filesystem::path file);
  // Ends a computation that is going on.
  ~DigestCache() = default;
  DigestCache(const DigestCache&) = delete;
  DigestCache& operator=(const DigestCache&) = delete;

  // The digest of the file at `path`. Where it has to be computed, that happens on a thread of its own, one file after
  // the other; ABORTED, with how far it has come, where it takes longer than until `deadline`: it goes on, and a later
  // call finds it done. INVALID_ARGUMENT for what is no regular file; codes of ErrnoStatus; UNAVAILABLE where the file
  // is being written.
  [[nodiscard]] absl::StatusOr<v1::FileDigest> Get(const std::filesystem::path& path,
                                                   std::chrono::system_clock::time_point deadline);

  // The file that had this digest; NOT_FOUND where none had, DATA_LOSS where it is another file by now.
  [[nodiscard]] absl::StatusOr<v1::FileDigest> Find(const std::string& sha256);

 private:
  void Run(const std::stop_token& stop);
  // Without mutex_.
  [[nodiscard]] absl::StatusOr<v1::FileDigest> Compute(const std::filesystem::path& path, const std::stop_token& stop);
  void Keep() const;  // with mutex_

  const std::filesystem::path file_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, v1::FileDigest> known_;   // guarded by mutex_
  std::map<std::string, absl::Status> problems_;  // of the last try; guarded by mutex_
  std::deque<std::string> waiting_;               // the first is being read; guarded by mutex_
  std::uint64_t read_bytes_ = 0;                  // of the first; guarded by mutex_
  std::jthread thread_;
};

}  // namespace ballast::models
