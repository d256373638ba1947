#include "worker/pressure/page_filler.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <mutex>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/units.h"
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

absl::StatusOr<std::unique_ptr<PageFiller>> PageFiller::Create(const v1::PageContent& content, unsigned threads,
                                                               Populate populate) {
  std::unique_ptr<PageFiller> filler(new PageFiller);
  const std::uint64_t seed = RandomSeed();
  filler->populate_ = populate;
  filler->stamp_pages_ = content.kind() != v1::PageContent::ZERO;
  filler->block_ = MakePageBlock(content, kBlockPages, seed);
  filler->next_stamp_ = seed;
  filler->threads_ = std::max(threads, 1U);
  BALLAST_ASSIGN_OR_RETURN(filler->team_, base::ThreadTeam::Start(filler->threads_, "fill memory"));
  return filler;
}

absl::Status PageFiller::Fill(std::byte* begin, std::size_t bytes, const std::stop_token& stop,
                              const AfterStride& after_stride, std::size_t* filled) {
  const std::size_t strides = (bytes + kStrideBytes - 1) / kStrideBytes;
  const std::uint64_t stamp = next_stamp_;
  next_stamp_ += bytes / kContentPageBytes;
  // Strides are handed out in order, and each that was handed out below a refused one is finished. So everything
  // before the first refused stride, or before the first that was not handed out, is filled.
  std::atomic<std::size_t> next = 0;
  std::atomic<std::size_t> end = strides;  // strides from here on are left alone
  std::mutex mutex;
  absl::Status refused;  // of the lowest stride
  const auto work = [&] {
    while (!stop.stop_requested()) {
      const std::size_t stride = next.fetch_add(1);
      if (stride >= end) return;
      const std::size_t offset = stride * kStrideBytes;
      const std::size_t stride_bytes = std::min(kStrideBytes, bytes - offset);
      const absl::Status status = FillStride(begin + offset, stride_bytes, stamp + offset / kContentPageBytes);
      if (status.ok()) {
        if (after_stride) after_stride(offset, stride_bytes);
        continue;
      }
      const std::lock_guard lock(mutex);
      if (stride < end) {
        end = stride;
        refused = status;
      }
      return;
    }
  };
  // Waking the others for a stride or two costs more than it gains.
  if (threads_ > 1 && strides >= 2 * std::size_t{threads_}) {
    team_->Run(work);
  } else {
    work();
  }
  *filled = std::min(std::min(next.load(), end.load()) * kStrideBytes, bytes);
  if (!refused.ok()) return refused;
  if (*filled == bytes) return absl::OkStatus();
  return absl::CancelledError(
      fmt::format("asked to stop after {} of {} were filled", base::FormatBytes(*filled), base::FormatBytes(bytes)));
}

absl::Status PageFiller::FillStride(std::byte* begin, std::size_t bytes, std::uint64_t first_stamp) {
  BALLAST_RETURN_IF_ERROR(MakeResident(begin, bytes));
  const std::size_t block_bytes = block_.size() * sizeof(std::uint64_t);
  for (std::size_t offset = 0; offset < bytes; offset += block_bytes) {
    std::memcpy(begin + offset, block_.data(), std::min(block_bytes, bytes - offset));
  }
  if (!stamp_pages_) return absl::OkStatus();
  for (std::size_t offset = 0; offset < bytes; offset += kContentPageBytes) {
    const std::uint64_t stamp = MixWord(first_stamp++);
    std::memcpy(begin + offset, &stamp, sizeof stamp);
  }
  return absl::OkStatus();
}

absl::Status PageFiller::MakeResident(std::byte* begin, std::size_t bytes) {
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
      case EFAULT:
        // What would be a SIGBUS at the first touch: the file behind the pages cannot take them.
        return absl::ResourceExhaustedError(
            fmt::format("make {} resident: the file behind the pages does not take them", base::FormatBytes(bytes)));
      default:
        return base::ErrnoStatus(errno, fmt::format("make {} resident", base::FormatBytes(bytes)));
    }
  }
  return absl::OkStatus();
}

}  // namespace ballast::pressure
