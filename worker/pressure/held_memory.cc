#include "worker/pressure/held_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/units.h"
#include "common/os/memory_lock.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 0x01
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

namespace ballast::pressure {
namespace {

// Address space that is looked for when memory begins to be held, so that it can grow upwards in one piece.
constexpr std::size_t kRunBytes = sizeof(void*) >= 8 ? std::size_t{64} << 30U : std::size_t{1} << 30U;

// Given back at once.
constexpr std::size_t kShrinkStepBytes = std::size_t{16} << 20U;

std::size_t PageBytes() {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

std::size_t RoundUpToPages(std::size_t bytes) {
  return (bytes + PageBytes() - 1) / PageBytes() * PageBytes();
}

// Where there is much free address space, at least `bytes`; null where there is none.
void* FindRoom(std::size_t bytes) {
  for (std::size_t size = kRunBytes; size > bytes; size /= 2) {
    void* const room = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) continue;
    ::munmap(room, size);
    return room;
  }
  return nullptr;
}

void Unmap(std::byte* begin, std::size_t bytes) {
  // Unmapping within a mapping can fail where it needs one mapping more than the process may have. The pages can be
  // dropped all the same.
  if (::munmap(begin, bytes) == 0) return;
  if (::madvise(begin, bytes, MADV_DONTNEED_LOCKED) != 0) ::madvise(begin, bytes, MADV_DONTNEED);
}

}  // namespace

absl::StatusOr<std::unique_ptr<HeldMemory>> HeldMemory::Create(const HeldMemoryOptions& options) {
  std::unique_ptr<HeldMemory> memory(new HeldMemory(options));
  BALLAST_ASSIGN_OR_RETURN(memory->filler_,
                           PageFiller::Create(options.content, options.fill_threads, options.populate));
  if (options.kind == v1::SHARED) {
    BALLAST_ASSIGN_OR_RETURN(memory->file_, BackingFile::CreateShared());
  } else if (options.kind == v1::FILE_CACHE) {
    BALLAST_ASSIGN_OR_RETURN(memory->file_, BackingFile::CreateOnDisk(options.scratch_dir));
  }
  BALLAST_ASSIGN_OR_RETURN(memory->statm_, os::FileReader::Open("/proc/self/statm"));
  BALLAST_ASSIGN_OR_RETURN(const os::ProcessStatm statm, memory->ReadStatm());
  memory->file_pages_at_begin_ = statm.shared_pages;
  return memory;
}

HeldMemory::~HeldMemory() {
  Shrink(held_bytes_, [] {});
}

absl::Status HeldMemory::Grow(std::size_t bytes, std::stop_token stop) {
  if (bytes == 0) return absl::OkStatus();
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) {
    return absl::OutOfRangeError(fmt::format("hold {} bytes more: no address space is that large", bytes));
  }
  const std::size_t mapped = RoundUpToPages(bytes);
  BALLAST_ASSIGN_OR_RETURN(std::byte* const begin, Map(mapped));
  // All are wishes: a kernel without the feature has nothing to turn off. Dumps are left out because a crash of a
  // runner that holds gigabytes must not write them to the device's disk.
  ::madvise(begin, mapped, MADV_NOHUGEPAGE);
  ::madvise(begin, mapped, MADV_UNMERGEABLE);
  ::madvise(begin, mapped, MADV_DONTDUMP);
  // A touch of a dropped page reads that page, not its neighbours with it.
  if (kind_ == v1::FILE_CACHE) ::madvise(begin, mapped, MADV_RANDOM);

  std::size_t filled = 0;
  absl::Status status = FillMapping(begin, mapped, stop, &filled);
  if (filled < mapped) {
    Unmap(begin + filled, mapped - filled);
    if (file_) static_cast<void>(file_->Resize(held_bytes_ + filled));  // making a file smaller does not fail
  }
  if (filled > 0) Append(begin, filled);
  return status;
}

absl::StatusOr<std::byte*> HeldMemory::Map(std::size_t bytes) const {
  const int flags = file_ ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  const int fd = file_ ? file_->fd() : -1;
  const auto map = [&](void* address, int more_flags) {
    return ::mmap(address, bytes, PROT_READ | PROT_WRITE, flags | more_flags, fd,
                  file_ ? static_cast<off_t>(held_bytes_) : 0);
  };
  // Right behind what is held, the kernel makes one mapping of both: a process may have only so many.
  void* address = MAP_FAILED;
  if (!segments_.empty()) address = map(segments_.back().begin + segments_.back().bytes, MAP_FIXED_NOREPLACE);
  if (address == MAP_FAILED) address = map(FindRoom(bytes), 0);
  if (address == MAP_FAILED) {
    return base::ErrnoStatus(
        errno, fmt::format("map {} more beside {} held", base::FormatBytes(bytes), base::FormatBytes(held_bytes_)));
  }
  return static_cast<std::byte*>(address);
}

absl::Status HeldMemory::FillMapping(std::byte* begin, std::size_t bytes, const std::stop_token& stop,
                                     std::size_t* filled) {
  if (lock_) BALLAST_RETURN_IF_ERROR(os::LockAsTouched(begin, bytes));
  if (!file_) return filler_->Fill(begin, bytes, stop, {}, filled);
  BALLAST_RETURN_IF_ERROR(file_->Resize(held_bytes_ + bytes));
  const absl::Status status = filler_->Fill(
      begin, bytes, stop,
      [this](std::size_t offset, std::size_t part) { file_->BeginWriteBack(held_bytes_ + offset, part); }, filled);
  const absl::Status written = file_->WaitForWriteBack(held_bytes_, *filled);
  if (!written.ok()) *filled = 0;
  return written.ok() ? status : written;
}

void HeldMemory::Append(std::byte* begin, std::size_t bytes) {
  held_bytes_ += bytes;
  if (!segments_.empty() && segments_.back().begin + segments_.back().bytes == begin) {
    segments_.back().bytes += bytes;
    return;
  }
  segments_.push_back({.begin = begin, .bytes = bytes});
}

void HeldMemory::Shrink(std::size_t bytes, const std::function<void()>& progress) {
  std::size_t left = bytes >= held_bytes_ ? held_bytes_ : std::min(held_bytes_, RoundUpToPages(bytes));
  if (left == 0) return;
  while (left > 0) {
    Segment& last = segments_.back();
    const std::size_t part = std::min({left, last.bytes, kShrinkStepBytes});
    last.bytes -= part;
    Unmap(last.begin + last.bytes, part);
    if (last.bytes == 0) segments_.pop_back();
    held_bytes_ -= part;
    left -= part;
    // Unmapping shared pages does not free them. Until this is over they are nobody's that could be seen from outside.
    if (file_) static_cast<void>(file_->Resize(held_bytes_));
    progress();
  }
}

absl::StatusOr<std::uint64_t> HeldMemory::ResidentBytes() {
  BALLAST_ASSIGN_OR_RETURN(const os::ProcessStatm statm, ReadStatm());
  return statm.resident_pages * PageBytes();
}

absl::StatusOr<std::uint64_t> HeldMemory::ResidentFileBytes() {
  if (kind_ != v1::FILE_CACHE) return 0;
  BALLAST_ASSIGN_OR_RETURN(const os::ProcessStatm statm, ReadStatm());
  const std::uint64_t pages =
      statm.shared_pages > file_pages_at_begin_ ? statm.shared_pages - file_pages_at_begin_ : std::uint64_t{0};
  return std::min<std::uint64_t>(pages * PageBytes(), held_bytes_);
}

absl::StatusOr<os::ProcessStatm> HeldMemory::ReadStatm() {
  std::array<char, 256> buffer;
  const std::optional<std::string_view> content = statm_.Read(buffer);
  const std::optional<os::ProcessStatm> statm = content ? os::ParseProcessStatm(*content) : std::nullopt;
  if (!statm) return absl::InternalError("read /proc/self/statm: no resident size in it");
  return *statm;
}

}  // namespace ballast::pressure
