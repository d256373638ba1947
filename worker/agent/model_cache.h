// The model files that a device keeps.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/partial_file.h"
#include "worker/agent/model_fetcher.h"
#include "worker/agent/model_source.h"

namespace ballast::agent {

struct ModelCacheOptions {
  std::filesystem::path directory{};
  // Most bytes of files, those that are on their way included.
  std::uint64_t quota_bytes = std::uint64_t{32} << 30U;
  // Stays free on the disk, which the spool is on as well.
  std::uint64_t reserve_bytes = 64U << 20U;
  // Where files may lie that a coordinator on this machine names by their path (DevicePolicy.model_directories).
  std::vector<std::filesystem::path> named_directories{};
  // Bounds of the pause between two tries to reach the coordinator.
  std::chrono::milliseconds min_retry{100};
  std::chrono::milliseconds max_retry{5'000};
};

// A directory of files that were fetched, named by their digests, or made, named by what they are made from:
//
//   SHA256.gguf, synthetic-SHAPE-LEVEL-SEED.gguf   complete and checked: read-only, and dated kSealTime
//   ….gguf.partial                                 on its way, or broken off: the next call goes on there
//
// A file is checked when it comes. Later a look at its size and date is enough: who changes it changes its date. Its
// time of access is when it was used last; what was not used for the longest time goes first where room is needed,
// and what a lease stands for never. Over a unix socket the coordinator's own file is used where it lies,
// if that is below one of the directories that the device's configuration gives away.
//
// One process a directory (the worker's data directory is locked). Thread-safe; outlives its leases.
class ModelCache final : public ModelSource {
 public:
  // Makes the directory where it is missing. `fetcher` outlives the cache. Codes of EnsureWritableDirectory.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ModelCache>> Open(ModelCacheOptions options,
                                                                        ModelFetcher* fetcher);

  [[nodiscard]] absl::StatusOr<ReadyModel> Prepare(const v1::ResolvedModel& model, const v1::ModelLoad& load,
                                                   const PrepareOptions& options, std::stop_token stop) override;

 private:
  class Lease;
  // One call of Prepare.
  struct Task;
  struct Arrived {
    std::filesystem::path path;
    const char* file_source = "present";
  };
  // What is going on with a file.
  struct Use {
    int leases = 0;
    bool preparing = false;
    std::uint64_t announced_bytes = 0;  // while preparing
  };

  ModelCache(ModelCacheOptions options, ModelFetcher* fetcher) : options_(std::move(options)), fetcher_(fetcher) {}

  // Until this call is the only one that prepares the file.
  [[nodiscard]] absl::Status Claim(const Task& task, const std::string& name, std::uint64_t size_bytes);
  // The other side of Claim; with a lease where the file is ready.
  [[nodiscard]] std::unique_ptr<ModelLease> Release(const std::string& name, bool ready);
  void Return(const std::string& name);

  [[nodiscard]] absl::StatusOr<Arrived> BringFile(const Task& task, const std::string& name);
  [[nodiscard]] absl::StatusOr<Arrived> BringSynthetic(const Task& task, const std::string& name);
  // The coordinator's own file; nothing where it cannot be used.
  [[nodiscard]] std::filesystem::path FindLocalFile(const Task& task);
  [[nodiscard]] absl::Status Transfer(const Task& task, base::PartialFile* file);
  // Removes what was not used for the longest time until `size_bytes` fit, of which `present_bytes` are there.
  [[nodiscard]] absl::Status MakeRoom(const std::string& name, std::uint64_t size_bytes);

  const ModelCacheOptions options_;
  ModelFetcher* const fetcher_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, Use> uses_;  // by name; guarded by mutex_
};

}  // namespace ballast::agent
