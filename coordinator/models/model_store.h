// The files that were pushed to the coordinator.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/model.pb.h"
#include "common/base/partial_file.h"

namespace ballast::models {

struct ModelStoreOptions {
  std::filesystem::path directory{};
  // Stays free on the disk, which the database is on as well.
  std::uint64_t reserve_bytes = 64U << 20U;
  // What belongs to no entry is removed at a start after this time: pushes that nobody went on with.
  std::chrono::hours keep_unused{24 * 7};
};

// A directory of files named by their digests, and which model at which level each is:
//
//   SHA256.gguf           complete and checked
//   SHA256.gguf.partial   a push that was broken off; the next one of the same file goes on there
//   pushed.yaml           a ModelCatalogue, replaced as a whole
//
// A file gets its name before an entry names it, and loses it after; so a crash at any instant leaves at most a file
// that no entry names. One process at a time. Thread-safe.
class ModelStore {
 public:
  // Makes the directory where it is missing. DATA_LOSS, with every problem as FILE:LINE:COLUMN, where pushed.yaml is
  // not valid; codes of EnsureWritableDirectory.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ModelStore>> Open(ModelStoreOptions options);

  // A file on its way into the store. Destruction before Finish leaves what came for the next push of the same file.
  // Not thread-safe.
  class Push {
   public:
    ~Push();
    Push(const Push&) = delete;
    Push& operator=(const Push&) = delete;

    // Bytes that are there: the next piece begins here.
    [[nodiscard]] std::uint64_t stored_bytes() const;
    [[nodiscard]] bool complete() const;
    // INVALID_ARGUMENT: not the piece that follows; otherwise as PartialFile::Append.
    [[nodiscard]] absl::Status Append(const v1::FilePiece& piece);
    // Checks the file, gives it its name, and enters it. INVALID_ARGUMENT: it is not what was announced, or no model
    // that can be read; what came is removed then.
    [[nodiscard]] absl::Status Finish();

   private:
    friend class ModelStore;
    Push(ModelStore* store, v1::PushModelStart start) : store_(store), start_(std::move(start)) {}

    ModelStore* const store_;
    const v1::PushModelStart start_;
    std::optional<base::PartialFile> file_;  // nothing where the file is in the store already
  };

  // Begins a push, or goes on with one. INVALID_ARGUMENT: no size or digest was announced; RESOURCE_EXHAUSTED: the disk
  // has no room; ABORTED: another push of the same file is going on; CANCELLED on `stop`. The store outlives the push.
  [[nodiscard]] absl::StatusOr<std::unique_ptr<Push>> Begin(v1::PushModelStart start, const std::stop_token& stop);

  // Removes an entry, and its file where no other entry names it. NOT_FOUND.
  [[nodiscard]] absl::Status Remove(const std::string& model_id, const std::string& quant);

  // What was pushed. Files have a digest, a size and no path.
  [[nodiscard]] v1::ModelCatalogue pushed() const;

  // Where the file with this digest lies, whether or not it does.
  [[nodiscard]] std::filesystem::path PathOf(const std::string& sha256) const;

 private:
  explicit ModelStore(ModelStoreOptions options) : options_(std::move(options)) {}

  void RemoveUnused();
  [[nodiscard]] absl::Status Enter(const v1::PushModelStart& start);
  // With mutex_: makes `next` what was pushed, durably.
  [[nodiscard]] absl::Status Keep(v1::ModelCatalogue next);

  const ModelStoreOptions options_;
  mutable std::mutex mutex_;
  v1::ModelCatalogue pushed_;           // guarded by mutex_
  std::set<std::string> being_pushed_;  // digests; guarded by mutex_
};

}  // namespace ballast::models
