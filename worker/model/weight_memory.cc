#include "worker/model/weight_memory.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/thread_team.h"
#include "common/base/units.h"
#include "common/os/memory_lock.h"

namespace ballast::model {
namespace {

// After so much a stop is heard.
constexpr std::size_t kPopulateBytes = 16U << 20U;
constexpr std::size_t kReadBytes = 4U << 20U;

constexpr std::size_t kHugePageBytes = 2U << 20U;
// What reads past the page cache are aligned to where the kernel does not say (before 6.1).
constexpr std::uint64_t kUsualDirectAlignment = 4096;

std::uint64_t RoundUp(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::uint64_t PageBytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::string NoDirectReads(const gguf::ModelPart& file) {
  return fmt::format(
      "the file system of {} does not read past the page cache (O_DIRECT); choose another loader, or "
      "keep models on a disk's own file system",
      file.path.string());
}

// What positions and sizes of reads past the page cache must be multiples of; at least a page, which memory always is.
absl::StatusOr<std::uint64_t> DirectAlignment(const gguf::ModelPart& file, int fd) {
  struct ::statx status {};
  const std::uint64_t least = std::max(kUsualDirectAlignment, PageBytes());
  if (::syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) != 0 ||
      (status.stx_mask & STATX_DIOALIGN) == 0) {
    return least;
  }
  if (status.stx_dio_offset_align == 0) return absl::FailedPreconditionError(NoDirectReads(file));
  return RoundUp(least, status.stx_dio_offset_align);
}

absl::Status Shortened(const gguf::ModelPart& file) {
  return absl::DataLossError(
      fmt::format("{} was cut short, or its disk could not read it, while it was loaded; check the disk (dmesg), and "
                  "that nothing writes to the file",
                  file.path.string()));
}

absl::Status NoMemory(int error, std::uint64_t bytes) {
  return absl::ResourceExhaustedError(fmt::format(
      "{}; the limit of address space (ulimit -v) or of overcommitted memory (vm.overcommit_memory) is in "
      "the way: raise it, or load a smaller level",
      std::string(
          base::ErrnoStatus(error, fmt::format("get {} of memory for weights", base::FormatBytes(bytes))).message())));
}

// Reads `size` bytes at `position`, up to the file's end.
absl::Status ReadFully(const gguf::ModelPart& file, int fd, std::byte* to, std::uint64_t position, std::size_t size) {
  while (size > 0 && position < file.file_size_bytes) {
    const ssize_t n = ::pread(fd, to, size, static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EINVAL) return absl::FailedPreconditionError(NoDirectReads(file));
    if (n < 0 && errno == EIO) return Shortened(file);
    if (n < 0) return base::ErrnoStatus(errno, fmt::format("read {}", file.path.string()));
    if (n == 0) return Shortened(file);
    to += n;
    position += static_cast<std::uint64_t>(n);
    size -= static_cast<std::size_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightMemory>> WeightMemory::Load(const gguf::ModelFile& model, const Options& options,
                                                                 const std::stop_token& stop) {
  std::unique_ptr<WeightMemory> memory(new WeightMemory(model));
  const bool direct = options.loader == v1::ModelLoad::DIRECT;
  BALLAST_RETURN_IF_ERROR(memory->OpenParts(direct));
  if (direct || options.loader == v1::ModelLoad::READ) {
    BALLAST_RETURN_IF_ERROR(memory->Reserve(kHugePageBytes));
    BALLAST_RETURN_IF_ERROR(memory->Read(options.lock, options.readers, stop));
  } else {
    BALLAST_RETURN_IF_ERROR(memory->Reserve(PageBytes()));
    const bool populate = options.lock || options.loader == v1::ModelLoad::MMAP_POPULATE;
    BALLAST_RETURN_IF_ERROR(memory->Map(populate, options.lock, stop));
  }
  return memory;
}

WeightMemory::~WeightMemory() {
  guard_.reset();
  if (reservation_ != nullptr) ::munmap(reservation_, reserved_bytes_);
}

absl::Status WeightMemory::OpenParts(bool direct) {
  for (const gguf::ModelPart& file : model_->parts) {
    Part part;
    part.file = &file;
    absl::StatusOr<base::Fd> fd = base::OpenFile(file.path, O_RDONLY | (direct ? O_DIRECT : 0));
    if (direct && absl::IsInvalidArgument(fd.status())) return absl::FailedPreconditionError(NoDirectReads(file));
    if (!fd.ok()) return fd.status();
    part.fd = *std::move(fd);
    part.unit_bytes = PageBytes();
    if (direct) {
      BALLAST_ASSIGN_OR_RETURN(part.unit_bytes, DirectAlignment(file, part.fd.get()));
    }
    part.begin_in_file = file.data_offset_bytes / part.unit_bytes * part.unit_bytes;
    // Where there is no tensor at all, the data section may begin behind the file's end.
    part.size_bytes = file.file_size_bytes > part.begin_in_file ? file.file_size_bytes - part.begin_in_file : 0;
    parts_.push_back(std::move(part));
  }
  return absl::OkStatus();
}

absl::Status WeightMemory::Reserve(std::size_t granule_bytes) {
  std::uint64_t total = granule_bytes;  // so that the first part can begin at a granule
  for (const Part& part : parts_) total += RoundUp(part.size_bytes + part.unit_bytes, granule_bytes);
  void* const address = ::mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return NoMemory(errno, total);
  reservation_ = static_cast<std::byte*>(address);
  reserved_bytes_ = total;
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  std::byte* next = reservation_ + (RoundUp(begin, granule_bytes) - begin);
  for (Part& part : parts_) {
    part.begin = next;
    next += RoundUp(part.size_bytes + part.unit_bytes, granule_bytes);
  }
  return absl::OkStatus();
}

absl::Status WeightMemory::Map(bool populate, bool lock, const std::stop_token& stop) {
  absl::StatusOr<MappedFileGuard> guard = MappedFileGuard::Install(reservation_, reserved_bytes_);
  if (!guard.ok()) return guard.status();
  guard_.emplace(*std::move(guard));
  for (const Part& part : parts_) {
    if (part.size_bytes == 0) continue;
    if (::mmap(part.begin, part.size_bytes, PROT_READ, MAP_SHARED | MAP_FIXED, part.fd.get(),
               static_cast<off_t>(part.begin_in_file)) == MAP_FAILED) {
      if (errno == ENOMEM) return NoMemory(errno, part.size_bytes);
      return base::ErrnoStatus(errno, fmt::format("map {}", part.file->path.string()));
    }
    if (lock) BALLAST_RETURN_IF_ERROR(os::LockAsTouched(part.begin, part.size_bytes));
  }
  if (!populate) return absl::OkStatus();
  for (const Part& part : parts_) BALLAST_RETURN_IF_ERROR(Populate(part, stop));
  populated_ = true;
  return Check();
}

absl::Status WeightMemory::Populate(const Part& part, const std::stop_token& stop) const {
  const std::uint64_t page_bytes = PageBytes();
  for (std::uint64_t offset = 0; offset < part.size_bytes; offset += kPopulateBytes) {
    if (stop.stop_requested()) return absl::CancelledError("stopped while the weights were loaded");
    const std::size_t bytes = std::min<std::uint64_t>(kPopulateBytes, part.size_bytes - offset);
    std::byte* const begin = part.begin + offset;
    int result = 0;
    do {
      result = ::madvise(begin, bytes, MADV_POPULATE_READ);
    } while (result != 0 && errno == EINTR);
    if (result == 0) continue;
    // Before 5.14: by touching. What the file cannot give is then found by the guard.
    if (errno == EINVAL) {
      for (std::size_t i = 0; i < bytes; i += page_bytes)
        static_cast<void>(*static_cast<volatile std::byte*>(begin + i));
      continue;
    }
    if (errno == EFAULT || errno == EHWPOISON || errno == EIO) return Shortened(*part.file);
    return base::ErrnoStatus(errno, fmt::format("bring {} into memory", part.file->path.string()));
  }
  return absl::OkStatus();
}

absl::Status WeightMemory::Read(bool lock, unsigned readers, const std::stop_token& stop) {
  for (const Part& part : parts_) {
    // A read past the page cache may end up to a unit of it behind the file's end.
    const std::uint64_t bytes = RoundUp(part.size_bytes, part.unit_bytes);
    if (bytes == 0) continue;
    if (::mprotect(part.begin, bytes, PROT_READ | PROT_WRITE) != 0) return NoMemory(errno, bytes);
    // Twice as fast to fill. Where the system has none, nothing changes.
    ::madvise(part.begin, bytes, MADV_HUGEPAGE);
    if (lock) BALLAST_RETURN_IF_ERROR(os::LockAsTouched(part.begin, bytes));
  }
  struct Piece {
    const Part* part;
    std::uint64_t offset;
  };
  std::vector<Piece> pieces;
  for (const Part& part : parts_) {
    for (std::uint64_t offset = 0; offset < part.size_bytes; offset += kReadBytes) pieces.push_back({&part, offset});
  }
  BALLAST_ASSIGN_OR_RETURN(const std::unique_ptr<base::ThreadTeam> team,
                           base::ThreadTeam::Start(readers, "read weights"));
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  absl::Status status;
  team->Run([&] {
    for (std::size_t i = next.fetch_add(1); i < pieces.size(); i = next.fetch_add(1)) {
      const auto [part, offset] = pieces[i];
      const std::size_t size =
          std::min<std::uint64_t>(kReadBytes, RoundUp(part->size_bytes, part->unit_bytes) - offset);
      absl::Status read = stop.stop_requested() ? absl::CancelledError("stopped while the weights were loaded")
                                                : ReadFully(*part->file, part->fd.get(), part->begin + offset,
                                                            part->begin_in_file + offset, size);
      if (read.ok()) continue;
      next.store(pieces.size());  // the others stop as well
      const std::lock_guard lock_status(mutex);
      if (status.ok()) status = std::move(read);
    }
  });
  return status;
}

std::span<const std::byte> WeightMemory::WeightsOf(const gguf::Tensor& tensor) const {
  const Part& part = parts_[tensor.part_index];
  return {part.begin + (model_->PositionOf(tensor) - part.begin_in_file), tensor.size_bytes};
}

void WeightMemory::BringIn(std::span<const std::byte> weights) const {
  if (!guard_ || populated_) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(weights.data());
  const std::uintptr_t page = begin / PageBytes() * PageBytes();
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the beginning of its page
  ::madvise(reinterpret_cast<void*>(page), weights.size() + (begin - page), MADV_POPULATE_READ);
}

absl::Status WeightMemory::Check() const {
  if (!guard_ || !MappedFileGuard::failed()) return absl::OkStatus();
  for (const Part& part : parts_) {
    struct stat status {};
    if (::fstat(part.fd.get(), &status) == 0 &&
        static_cast<std::uint64_t>(status.st_size) < part.file->file_size_bytes) {
      return Shortened(*part.file);
    }
  }
  return Shortened(*parts_.front().file);
}

}  // namespace ballast::model
