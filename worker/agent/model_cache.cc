#include "worker/agent/model_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/gguf/memory_estimate.h"
#include "common/gguf/model_description.h"
#include "common/gguf/model_file.h"
#include "common/gguf/synthetic_model.h"
#include "worker/agent/named_file.h"

namespace ballast::agent {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

// The date of files that were checked: 2000-01-01T00:00:00Z. No write leaves it.
constexpr std::time_t kSealTime = 946'684'800;
constexpr std::chrono::milliseconds kProgressInterval(250);
constexpr std::string_view kPartialSuffix = ".partial";

struct CachedFile {
  std::string name;  // without kPartialSuffix
  std::filesystem::path path;
  std::uint64_t size_bytes = 0;
  std::int64_t access_time_ns = 0;
};

std::int64_t Nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// Everything in the directory; what cannot be looked at is left out.
std::vector<CachedFile> ListFiles(const std::filesystem::path& directory) {
  std::vector<CachedFile> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    struct stat info {};
    if (::lstat(entry.path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    std::string name = entry.path().filename().string();
    if (name.ends_with(kPartialSuffix)) name.resize(name.size() - kPartialSuffix.size());
    files.push_back(
        {std::move(name), entry.path(), static_cast<std::uint64_t>(info.st_size), Nanoseconds(info.st_atim)});
  }
  return files;
}

bool IsSealed(const std::filesystem::path& path, std::uint64_t size_bytes) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_mtim.tv_sec == kSealTime &&
         static_cast<std::uint64_t>(info.st_size) == size_bytes;
}

// To the nanosecond: the kernel's own idea of now (UTIME_NOW) only changes with its tick.
timespec TimeOfNow() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now;
}

// Read-only, dated, durable, and out of the page cache.
absl::Status Seal(const std::filesystem::path& path) {
  const timespec now = TimeOfNow();
  BALLAST_ASSIGN_OR_RETURN(const base::Fd fd, base::OpenFile(path, O_RDONLY));
  const timespec times[2] = {now, {.tv_sec = kSealTime, .tv_nsec = 0}};
  if (::fchmod(fd.get(), 0444) != 0 || ::futimens(fd.get(), times) != 0 || ::fsync(fd.get()) != 0) {
    return base::ErrnoStatus(errno, fmt::format("seal {}", path.string()));
  }
  (void)::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
  return absl::OkStatus();
}

// From now on it is the one that was used last.
void Touch(const std::filesystem::path& path) {
  const timespec times[2] = {TimeOfNow(), {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
  (void)::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
}

void Remove(const std::filesystem::path& path) {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
}

// The model and its level, for messages.
std::string NameOf(const v1::ResolvedModel& model) {
  return fmt::format("{} {}", model.model_id(), model.quant());
}

absl::Status CheckFits(const v1::ResolvedModel& model, const v1::ModelLoad& load, const v1::MemoryEstimate& estimate,
                       std::uint64_t limit_bytes) {
  if (load.force() || limit_bytes == 0 || estimate.required_bytes() <= limit_bytes) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "{} does not fit by estimate: {} must fit into {} (weights in anonymous memory {}, of the file {}, context {}, "
      "computation {}, process {}); choose a smaller level or another loader, or try it all the same with --force",
      NameOf(model), base::FormatBytes(estimate.required_bytes()), base::FormatBytes(limit_bytes),
      base::FormatBytes(estimate.weight_anon_bytes()), base::FormatBytes(estimate.weight_file_bytes()),
      base::FormatBytes(estimate.kv_cache_bytes()), base::FormatBytes(estimate.compute_bytes()),
      base::FormatBytes(estimate.overhead_bytes())));
}

// Whether the coordinator may be back in a moment.
bool MayComeBack(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsUnknown(status);
}

}  // namespace

struct ModelCache::Task {
  const v1::ResolvedModel& model;
  const PrepareOptions& options;
  const std::stop_token& stop;
  SteadyTime deadline;
  mutable SteadyTime next_progress{};

  void Progress(std::uint64_t done_bytes, std::uint64_t total_bytes) const {
    const SteadyTime now = std::chrono::steady_clock::now();
    if (!options.on_progress || (now < next_progress && done_bytes < total_bytes)) return;
    next_progress = now + kProgressInterval;
    options.on_progress({done_bytes, total_bytes});
  }
  // Why it ends, where it has to.
  absl::Status CheckGoingOn() const {
    if (stop.stop_requested()) {
      return absl::CancelledError(fmt::format("preparing {} was cancelled", NameOf(model)));
    }
    if (std::chrono::steady_clock::now() < deadline) return absl::OkStatus();
    return absl::DeadlineExceededError(fmt::format("preparing {} took longer than {}; what came is kept", NameOf(model),
                                                   base::FormatDuration(options.timeout)));
  }
};

class ModelCache::Lease final : public ModelLease {
 public:
  Lease(ModelCache* cache, std::string name) : cache_(cache), name_(std::move(name)) {}
  ~Lease() override { cache_->Return(name_); }

 private:
  ModelCache* const cache_;
  const std::string name_;
};

absl::StatusOr<std::unique_ptr<ModelCache>> ModelCache::Open(ModelCacheOptions options, ModelFetcher* fetcher) {
  BALLAST_RETURN_IF_ERROR(base::EnsureWritableDirectory(options.directory, base::kPrivateDirectoryMode));
  options.directory = std::filesystem::absolute(options.directory);
  return std::unique_ptr<ModelCache>(new ModelCache(std::move(options), fetcher));
}

absl::StatusOr<ReadyModel> ModelCache::Prepare(const v1::ResolvedModel& model, const v1::ModelLoad& load,
                                               const PrepareOptions& options, std::stop_token stop) {
  const auto timeout = std::min<std::chrono::nanoseconds>(options.timeout, std::chrono::hours(24 * 365));
  const Task task{model, options, stop, std::chrono::steady_clock::now() + timeout};
  ReadyModel ready;
  ready.description = model.description();
  ready.estimate = gguf::EstimateMemory(model.description(), load);
  BALLAST_RETURN_IF_ERROR(CheckFits(model, load, ready.estimate, options.limit_bytes));

  std::string name;
  if (model.has_synthetic()) {
    name = fmt::format("synthetic-{}-{}-{}.gguf", model.synthetic().shape(), model.quant(), model.synthetic().seed());
  } else if (base::IsSha256(model.file().sha256())) {
    name = fmt::format("{}.gguf", model.file().sha256());
  }
  if (name.empty() || name.find('/') != std::string::npos) {
    return absl::InvalidArgumentError(fmt::format("the assignment does not say where {} comes from", NameOf(model)));
  }
  const std::uint64_t size_bytes = model.has_file() ? model.file().size_bytes() : model.description().file_bytes();
  BALLAST_RETURN_IF_ERROR(Claim(task, name, size_bytes));
  absl::StatusOr<Arrived> arrived = model.has_file() ? BringFile(task, name) : BringSynthetic(task, name);
  ready.lease = Release(name, arrived.ok());
  BALLAST_RETURN_IF_ERROR(arrived.status());
  ready.paths.push_back(arrived->path);
  ready.file_source = arrived->file_source;
  return ready;
}

absl::Status ModelCache::Claim(const Task& task, const std::string& name, std::uint64_t size_bytes) {
  std::unique_lock lock(mutex_);
  const bool free =
      changed_.wait_until(lock, task.stop, task.deadline, [this, &name] { return !uses_[name].preparing; });
  if (!free) return task.CheckGoingOn();
  uses_[name].preparing = true;
  uses_[name].announced_bytes = size_bytes;
  return absl::OkStatus();
}

std::unique_ptr<ModelLease> ModelCache::Release(const std::string& name, bool ready) {
  const std::lock_guard lock(mutex_);
  Use& use = uses_[name];
  use.preparing = false;
  changed_.notify_all();
  if (!ready) return nullptr;
  ++use.leases;
  return std::make_unique<Lease>(this, name);
}

void ModelCache::Return(const std::string& name) {
  Touch(options_.directory / name);
  const std::lock_guard lock(mutex_);
  --uses_[name].leases;
}

absl::StatusOr<ModelCache::Arrived> ModelCache::BringFile(const Task& task, const std::string& name) {
  const v1::ModelFile& wanted = task.model.file();
  const std::filesystem::path path = options_.directory / name;
  if (IsSealed(path, wanted.size_bytes())) {
    Touch(path);
    return Arrived{path};
  }
  if (const std::filesystem::path local = FindLocalFile(task); !local.empty()) return Arrived{local};
  Remove(path);  // what is there was changed
  for (bool again = false;; again = true) {
    BALLAST_RETURN_IF_ERROR(MakeRoom(name, wanted.size_bytes()));
    BALLAST_ASSIGN_OR_RETURN(base::PartialFile file, base::PartialFile::Open({.path = path,
                                                                              .size_bytes = wanted.size_bytes(),
                                                                              .sha256 = wanted.sha256(),
                                                                              .reserve_bytes = options_.reserve_bytes},
                                                                             task.stop));
    const std::uint64_t resumed_bytes = file.size_bytes();
    base::Log().info("fetching {}: {} bytes, {} are here", NameOf(task.model), wanted.size_bytes(), resumed_bytes);
    BALLAST_RETURN_IF_ERROR(Transfer(task, &file));
    const absl::Status verified = file.Verify();
    if (absl::IsDataLoss(verified)) {
      file.Discard();
      // After a power cut, what was here may not be what had come.
      if (resumed_bytes > 0 && !again) continue;
      return absl::DataLossError(
          fmt::format("{}: {}; it is fetched anew the next time", NameOf(task.model), std::string(verified.message())));
    }
    BALLAST_RETURN_IF_ERROR(verified);
    BALLAST_RETURN_IF_ERROR(file.Commit());
    BALLAST_RETURN_IF_ERROR(Seal(path));
    return Arrived{path, "fetched"};
  }
}

std::filesystem::path ModelCache::FindLocalFile(const Task& task) {
  if (!fetcher_->same_machine() || options_.named_directories.empty()) return {};
  v1::FetchModelRequest request;
  request.set_sha256(task.model.file().sha256());
  request.set_accept_local_path(true);
  std::string path;
  const auto keep_path = [&path](const v1::FilePiece& piece) -> absl::Status {
    path = piece.local_path();
    return absl::CancelledError("the path is all that is asked for");
  };
  (void)fetcher_->Fetch(request, keep_path, task.deadline, task.stop);  // what went wrong shows when it is fetched
  if (path.empty()) return {};
  const absl::StatusOr<NamedFile> file = OpenNamedFile(path, options_.named_directories);
  if (!file.ok()) {
    base::Log().info("{} is fetched: {}", NameOf(task.model), std::string(file.status().message()));
    return {};
  }
  // The coordinator may see other files under this name: it can be in a container.
  struct stat info {};
  const bool fits =
      ::fstat(file->fd.get(), &info) == 0 && static_cast<std::uint64_t>(info.st_size) == task.model.file().size_bytes();
  return fits ? file->path : std::filesystem::path();
}

absl::Status ModelCache::Transfer(const Task& task, base::PartialFile* file) {
  const std::uint64_t total_bytes = task.model.file().size_bytes();
  std::chrono::milliseconds pause = options_.min_retry;
  bool told = false;
  while (!file->complete()) {
    v1::FetchModelRequest request;
    request.set_sha256(task.model.file().sha256());
    request.set_offset_bytes(file->size_bytes());
    const std::uint64_t before = file->size_bytes();
    absl::Status status = fetcher_->Fetch(
        request,
        [&](const v1::FilePiece& piece) -> absl::Status {
          if (piece.offset_bytes() != file->size_bytes()) {
            return absl::DataLossError(fmt::format("the coordinator sent byte {} of {} where byte {} follows",
                                                   piece.offset_bytes(), NameOf(task.model), file->size_bytes()));
          }
          BALLAST_RETURN_IF_ERROR(file->Append(piece.content()));
          task.Progress(file->size_bytes(), total_bytes);
          return absl::OkStatus();
        },
        task.deadline, task.stop);
    if (file->complete()) break;
    BALLAST_RETURN_IF_ERROR(task.CheckGoingOn());
    if (status.ok()) {
      return absl::DataLossError(fmt::format("the coordinator's file of {} has {} bytes, and {} were announced",
                                             NameOf(task.model), file->size_bytes(), total_bytes));
    }
    if (!MayComeBack(status)) return base::WithContext(status, fmt::format("fetching {}", NameOf(task.model)));
    if (!std::exchange(told, true)) {
      base::Log().warn("fetching {}: {} of {} bytes are here; {}; trying again until it is there", NameOf(task.model),
                       file->size_bytes(), total_bytes, std::string(status.message()));
    }
    pause = file->size_bytes() > before ? options_.min_retry : std::min(2 * pause, options_.max_retry);
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, task.stop, std::min(task.deadline, std::chrono::steady_clock::now() + pause),
                        [] { return false; });
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelCache::Arrived> ModelCache::BringSynthetic(const Task& task, const std::string& name) {
  const v1::SyntheticModel& wanted = task.model.synthetic();
  BALLAST_ASSIGN_OR_RETURN(const gguf::ModelShape shape, gguf::FindShape(wanted.shape()));
  BALLAST_ASSIGN_OR_RETURN(const gguf::QuantLevel level, gguf::FindQuantLevel(task.model.quant()));
  const gguf::SyntheticModel model(shape, level, wanted.seed());
  const std::filesystem::path path = options_.directory / name;
  if (!IsSealed(path, model.file_size_bytes())) Remove(path);
  BALLAST_RETURN_IF_ERROR(MakeRoom(name, model.file_size_bytes()));
  gguf::WriteOptions write{.keep_partial = true, .stop = task.stop};
  // Progress is where the writer looks up, so the deadline is looked at there.
  std::stop_source ended;
  const std::stop_callback forward(task.stop, [&ended] { ended.request_stop(); });
  write.stop = ended.get_token();
  write.progress = [&](std::uint64_t done_bytes, std::uint64_t total_bytes) {
    task.Progress(done_bytes, total_bytes);
    if (!task.CheckGoingOn().ok()) ended.request_stop();
  };
  absl::StatusOr<gguf::WriteResult> written = gguf::WriteSyntheticModel(model, path, write);
  if (absl::IsAlreadyExists(written.status())) {  // one that another version made
    Remove(path);
    written = gguf::WriteSyntheticModel(model, path, write);
  }
  if (absl::IsCancelled(written.status())) BALLAST_RETURN_IF_ERROR(task.CheckGoingOn());
  BALLAST_RETURN_IF_ERROR(base::WithContext(written.status(), fmt::format("making {}", NameOf(task.model))));
  if (written->written_bytes == 0 && IsSealed(path, model.file_size_bytes())) {
    Touch(path);
    return Arrived{path};
  }
  BALLAST_RETURN_IF_ERROR(Seal(path));
  return Arrived{path, "created"};
}

absl::Status ModelCache::MakeRoom(const std::string& name, std::uint64_t size_bytes) {
  const std::lock_guard lock(mutex_);
  if (size_bytes > options_.quota_bytes) {
    return absl::ResourceExhaustedError(
        fmt::format("the model has {}, and at most {} of models are kept on this device; raise --model-quota",
                    base::FormatBytes(size_bytes), base::FormatBytes(options_.quota_bytes)));
  }
  while (true) {
    std::uint64_t others_bytes = 0;   // what other files have, or will have
    std::uint64_t pending_bytes = 0;  // what files on their way will still take, this one included
    std::uint64_t present_bytes = 0;
    std::optional<CachedFile> oldest;
    for (CachedFile& file : ListFiles(options_.directory)) {
      const auto use = uses_.find(file.name);
      if (file.name == name) {
        present_bytes = std::max(present_bytes, file.size_bytes);
      } else if (use != uses_.end() && use->second.preparing) {
        const std::uint64_t announced = std::max(use->second.announced_bytes, file.size_bytes);
        others_bytes += announced;
        pending_bytes += announced - file.size_bytes;
      } else {
        others_bytes += file.size_bytes;
        const bool free = use == uses_.end() || use->second.leases == 0;
        if (free && (!oldest || file.access_time_ns < oldest->access_time_ns)) oldest = std::move(file);
      }
    }
    pending_bytes += size_bytes - std::min(size_bytes, present_bytes);
    const bool within_quota = others_bytes + size_bytes <= options_.quota_bytes;
    const absl::Status space = base::CheckDiskSpace(options_.directory, pending_bytes, options_.reserve_bytes);
    if (within_quota && space.ok()) return absl::OkStatus();
    if (!oldest) {
      if (!space.ok()) return space;
      return absl::ResourceExhaustedError(fmt::format(
          "models in use have {} of the {} that are kept on this device, and {} are needed; raise --model-quota",
          base::FormatBytes(others_bytes), base::FormatBytes(options_.quota_bytes), base::FormatBytes(size_bytes)));
    }
    base::Log().info("{} makes room: it was not used for the longest time", oldest->path.filename().string());
    if (::unlink(oldest->path.c_str()) != 0) {
      return base::ErrnoStatus(errno, fmt::format("remove {}", oldest->path.string()));
    }
  }
}

}  // namespace ballast::agent
