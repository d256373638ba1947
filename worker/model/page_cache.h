// What of a model's files is in the page cache, and bringing it into the state that a load asks for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"

namespace ballast::model {

// Pages of files, counted.
struct CachedPages {
  std::uint64_t total_pages = 0;
  std::uint64_t cached_pages = 0;

  // In percent; 0 where there are no pages.
  [[nodiscard]] double percent() const {
    return total_pages == 0 ? 0 : 100.0 * static_cast<double>(cached_pages) / static_cast<double>(total_pages);
  }
};

// Counts with mincore, 256 MiB of address space at a time. Brings no page in. PERMISSION_DENIED where the files belong
// to somebody else and cannot be written: the kernel then calls every page cached. Codes of base::ErrnoStatus.
[[nodiscard]] absl::StatusOr<CachedPages> CountCachedPages(std::span<const std::filesystem::path> files);

// COLD where less than 1 % of the pages are cached, WARM where more than 99 % are, AS_IS otherwise.
[[nodiscard]] v1::CacheState JudgeCache(const CachedPages& pages);

// Writes what is dirty back and puts the files out of the cache, again for up to half a second while a little stays
// (pages that a processor has not handed back yet). OK also where something stays: a page that somebody maps or locks
// cannot be put out. Count to find out. Codes of base::ErrnoStatus.
[[nodiscard]] absl::Status Evict(std::span<const std::filesystem::path> files);

// Reads the files once, so that they are cached as far as memory goes. CANCELLED on `stop`, within a few MiB. Codes of
// base::ErrnoStatus.
[[nodiscard]] absl::Status Warm(std::span<const std::filesystem::path> files, const std::stop_token& stop);

// What was found after the cache was brought into the state that was asked for.
struct CacheFinding {
  // Nothing where nobody can tell.
  std::optional<CachedPages> pages;
  // CACHE_STATE_UNSPECIFIED where nobody can tell.
  v1::CacheState state = v1::CACHE_STATE_UNSPECIFIED;
  // For people: why it is not what was asked for; empty where it is.
  std::string remark;
};

// Evicts for COLD, warms for WARM, leaves all as it is for AS_IS, then counts. That the state could not be reached is
// in the finding; CANCELLED on `stop`, and codes of base::ErrnoStatus where the files cannot be read.
[[nodiscard]] absl::StatusOr<CacheFinding> PrepareCache(std::span<const std::filesystem::path> files,
                                                        v1::CacheState asked, const std::stop_token& stop);

}  // namespace ballast::model
