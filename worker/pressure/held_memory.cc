#include "worker/pressure/held_memory.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/units.h"
#include "common/os/procfs.h"
#include "worker/pressure/page_block.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace ballast::pressure {
namespace {

// Small enough to stay in the second-level cache of a small processor while pages are copied from it.
constexpr std::size_t kBlockPages = 16;

// Pages are made resident and filled in strides of this size: the kernel has just zeroed them, so that the copy finds
// them in the cache. Twice as fast as populating everything first, and 1.5 times as fast as faulting page by page.
constexpr std::size_t kStrideBytes = 512U << 10U;

std::size_t PageBytes() {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

std::size_t RoundUpToPages(std::size_t bytes) {
  return (bytes + PageBytes() - 1) / PageBytes() * PageBytes();
}

// Two runners of one device must not hold the same pages, so each starts somewhere else.
std::uint64_t RandomSeed() {
  std::uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof seed)) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    seed = MixWord(static_cast<std::uint64_t>(now.tv_nsec) ^ (static_cast<std::uint64_t>(::getpid()) << 32U));
  }
  return seed;
}

}  // namespace

absl::StatusOr<HeldMemory> HeldMemory::Create(const v1::PageContent& content, Populate populate) {
  HeldMemory memory;
  const std::uint64_t seed = RandomSeed();
  memory.populate_ = populate;
  memory.stamp_pages_ = content.kind() != v1::PageContent::ZERO;
  memory.block_ = MakePageBlock(content, kBlockPages, seed);
  memory.next_stamp_ = seed;
  BALLAST_ASSIGN_OR_RETURN(memory.statm_, os::FileReader::Open("/proc/self/statm"));
  return memory;
}

HeldMemory::HeldMemory(HeldMemory&& other) noexcept
    : populate_(other.populate_),
      stamp_pages_(other.stamp_pages_),
      block_(std::move(other.block_)),
      next_stamp_(other.next_stamp_),
      statm_(std::move(other.statm_)),
      segments_(std::exchange(other.segments_, {})),
      held_bytes_(std::exchange(other.held_bytes_, 0)) {}

HeldMemory& HeldMemory::operator=(HeldMemory&& other) noexcept {
  if (this != &other) {
    Shrink(held_bytes_);
    populate_ = other.populate_;
    stamp_pages_ = other.stamp_pages_;
    block_ = std::move(other.block_);
    next_stamp_ = other.next_stamp_;
    statm_ = std::move(other.statm_);
    segments_ = std::exchange(other.segments_, {});
    held_bytes_ = std::exchange(other.held_bytes_, 0);
  }
  return *this;
}

HeldMemory::~HeldMemory() {
  Shrink(held_bytes_);
}

absl::Status HeldMemory::Grow(std::size_t bytes, std::stop_token stop) {
  if (bytes == 0) return absl::OkStatus();
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) {
    return absl::OutOfRangeError(fmt::format("hold {} bytes more: no address space is that large", bytes));
  }
  const std::size_t mapped = RoundUpToPages(bytes);
  void* address = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    const std::string context =
        fmt::format("map {} more beside {} held", base::FormatBytes(mapped), base::FormatBytes(held_bytes_));
    return base::ErrnoStatus(errno, context);
  }
  // All three are wishes: a kernel without the feature has nothing to turn off. Dumps are left out because a crash of a
  // runner that holds gigabytes must not write them to the device's disk.
  ::madvise(address, mapped, MADV_NOHUGEPAGE);
  ::madvise(address, mapped, MADV_UNMERGEABLE);
  ::madvise(address, mapped, MADV_DONTDUMP);

  auto* begin = static_cast<std::byte*>(address);
  std::size_t filled = 0;
  absl::Status status = Fill(begin, mapped, stop, &filled);
  if (filled < mapped) ::munmap(begin + filled, mapped - filled);
  if (filled > 0) Append(begin, filled);
  return status;
}

absl::Status HeldMemory::Fill(std::byte* begin, std::size_t bytes, const std::stop_token& stop, std::size_t* filled) {
  const std::size_t block_bytes = block_.size() * sizeof(std::uint64_t);
  while (*filled < bytes) {
    if (stop.stop_requested()) {
      return absl::CancelledError(fmt::format("asked to stop after {} of {} were filled", base::FormatBytes(*filled),
                                              base::FormatBytes(bytes)));
    }
    std::byte* stride = begin + *filled;
    const std::size_t stride_bytes = std::min(kStrideBytes, bytes - *filled);
    BALLAST_RETURN_IF_ERROR(MakeResident(stride, stride_bytes));
    for (std::size_t offset = 0; offset < stride_bytes; offset += block_bytes) {
      std::memcpy(stride + offset, block_.data(), std::min(block_bytes, stride_bytes - offset));
    }
    if (stamp_pages_) {
      for (std::size_t offset = 0; offset < stride_bytes; offset += kContentPageBytes) {
        const std::uint64_t stamp = MixWord(next_stamp_++);
        std::memcpy(stride + offset, &stamp, sizeof stamp);
      }
    }
    *filled += stride_bytes;
  }
  return absl::OkStatus();
}

absl::Status HeldMemory::MakeResident(std::byte* begin, std::size_t bytes) {
  while (populate_ == Populate::kBulk) {
    if (::madvise(begin, bytes, MADV_POPULATE_WRITE) == 0) break;
    switch (errno) {
      case EINTR:
      case EAGAIN:
        continue;
      case EINVAL:
        // A kernel before 5.14: the copy itself touches the pages.
        populate_ = Populate::kTouch;
        break;
      default:
        return base::ErrnoStatus(errno, fmt::format("make {} resident beside {} held", base::FormatBytes(bytes),
                                                    base::FormatBytes(held_bytes_)));
    }
  }
  return absl::OkStatus();
}

void HeldMemory::Append(std::byte* begin, std::size_t bytes) {
  held_bytes_ += bytes;
  if (!segments_.empty() && begin + bytes == segments_.back().begin) {
    segments_.back().begin = begin;
    segments_.back().bytes += bytes;
    return;
  }
  segments_.push_back({.begin = begin, .bytes = bytes});
}

void HeldMemory::Shrink(std::size_t bytes) {
  std::size_t left = bytes >= held_bytes_ ? held_bytes_ : std::min(held_bytes_, RoundUpToPages(bytes));
  while (left > 0) {
    Segment& last = segments_.back();
    const std::size_t part = std::min(left, last.bytes);
    // Unmapping within a mapping can fail where it needs one mapping more than the process may have. The pages can be
    // dropped all the same.
    if (::munmap(last.begin, part) != 0) ::madvise(last.begin, part, MADV_DONTNEED);
    last.begin += part;
    last.bytes -= part;
    if (last.bytes == 0) segments_.pop_back();
    held_bytes_ -= part;
    left -= part;
  }
}

absl::StatusOr<std::uint64_t> HeldMemory::ResidentBytes() {
  std::array<char, 256> buffer;
  const std::optional<std::string_view> content = statm_.Read(buffer);
  const std::optional<os::ProcessStatm> statm = content ? os::ParseProcessStatm(*content) : std::nullopt;
  if (!statm) return absl::InternalError("read /proc/self/statm: no resident size in it");
  return statm->resident_pages * PageBytes();
}

}  // namespace ballast::pressure
