// The files of a model on this device, and how they get there: the seam between a run and where models come from.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/model.pb.h"
#include "ballast/v1/workload.pb.h"

namespace ballast::agent {

// Keeps files where they are: as long as one lives, nothing of what it stands for is evicted. Thread-safe to destroy.
class ModelLease {
 public:
  virtual ~ModelLease() = default;
};

// A model whose files lie on this device, complete and checked. Move-only.
struct ReadyModel {
  std::vector<std::filesystem::path> paths;  // absolute, in order; a model in shards has several
  // How it came: `present`, `fetched` or `created` (ModelLoadResult.file_source).
  std::string file_source;
  v1::ModelDescription description;
  // What this load of it should need, worked out before anything was transferred.
  v1::MemoryEstimate estimate;
  // Hold it until the load has ended.
  std::unique_ptr<ModelLease> lease;
};

// How far fetching or creating has come.
struct PrepareProgress {
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
};

struct PrepareOptions {
  // What must fit into it, by estimate, unless the load says `force`: the machine's memory or the tightest cgroup's
  // limit. Zero means that nothing is compared.
  std::uint64_t limit_bytes = 0;
  // Longest time that all of it may take, waiting for a coordinator that went away included.
  std::chrono::nanoseconds timeout = std::chrono::hours(24);
  // Called from the calling thread, a few times a second while bytes move; not at all where the file is there already.
  // Must not block. May be empty.
  std::function<void(const PrepareProgress&)> on_progress{};
};

// Brings models onto the device. Thread-safe: two calls for one file share one transfer.
class ModelSource {
 public:
  virtual ~ModelSource() = default;

  // Makes the model's files ready: finds them present, fetches them, or makes them. Blocks, for minutes where gigabytes
  // move; looks at `stop` a few times a second. What was transferred before a failure is kept, and the next call goes
  // on there.
  //
  // FAILED_PRECONDITION: by estimate the load cannot be held within `limit_bytes` (the message shows the estimate and
  // names `--force`). RESOURCE_EXHAUSTED: no room on the disk, or within the quota. NOT_FOUND: the coordinator does not
  // have the file any more. DATA_LOSS: what came is not what was announced. INVALID_ARGUMENT: the file is no model, or
  // no model that this worker can make. DEADLINE_EXCEEDED: `timeout` is over. CANCELLED: `stop`. All messages are for
  // people, and name the next step.
  [[nodiscard]] virtual absl::StatusOr<ReadyModel> Prepare(const v1::ResolvedModel& model, const v1::ModelLoad& load,
                                                           const PrepareOptions& options, std::stop_token stop) = 0;
};

}  // namespace ballast::agent
