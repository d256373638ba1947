#include "worker/model/page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/status.h"

namespace ballast::model {
namespace {

constexpr std::uint64_t kWindowBytes = 256U << 20U;
constexpr std::size_t kReadBytes = 1U << 20U;
constexpr auto kEvictionTime = std::chrono::milliseconds(500);
constexpr auto kEvictionPause = std::chrono::milliseconds(5);
constexpr double kColdPercent = 1;
constexpr double kWarmPercent = 99;

struct OpenedFile {
  base::Fd fd;
  std::uint64_t size_bytes = 0;
};

absl::StatusOr<OpenedFile> OpenRegular(const std::filesystem::path& path) {
  OpenedFile file;
  // A pipe would block.
  BALLAST_ASSIGN_OR_RETURN(file.fd, base::OpenFile(path, O_RDONLY | O_NONBLOCK));
  struct stat status {};
  if (::fstat(file.fd.get(), &status) != 0) return base::ErrnoStatus(errno, "stat " + path.string());
  if (!S_ISREG(status.st_mode)) return absl::InvalidArgumentError(path.string() + " is no regular file");
  file.size_bytes = static_cast<std::uint64_t>(status.st_size);
  return file;
}

// Whether the kernel tells the truth about this file's pages: it does to those who could write it, or own it.
bool MayCount(const std::filesystem::path& path, int fd) {
  if (::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0) return true;
  struct stat status {};
  return ::fstat(fd, &status) == 0 && (status.st_uid == ::geteuid() || ::geteuid() == 0);
}

absl::Status CountPages(const std::filesystem::path& path, CachedPages* pages) {
  BALLAST_ASSIGN_OR_RETURN(const OpenedFile file, OpenRegular(path));
  if (!MayCount(path, file.fd.get())) {
    return absl::PermissionDeniedError(
        fmt::format("what of {} is in the page cache is told only to its owner and to those who may write it; give the "
                    "file to the worker's user",
                    path.string()));
  }
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> residency;
  for (std::uint64_t offset = 0; offset < file.size_bytes; offset += kWindowBytes) {
    const std::uint64_t bytes = std::min(kWindowBytes, file.size_bytes - offset);
    residency.resize((bytes + page_bytes - 1) / page_bytes);
    void* const window = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.fd.get(), static_cast<off_t>(offset));
    if (window == MAP_FAILED) return base::ErrnoStatus(errno, "map " + path.string());
    const int result = ::mincore(window, bytes, residency.data());
    const int error = errno;
    ::munmap(window, bytes);
    if (result != 0) return base::ErrnoStatus(error, "mincore of " + path.string());
    pages->total_pages += residency.size();
    pages->cached_pages += static_cast<std::uint64_t>(
        std::count_if(residency.begin(), residency.end(), [](unsigned char page) { return (page & 1U) != 0; }));
  }
  return absl::OkStatus();
}

absl::Status WarmFile(const std::filesystem::path& path, char* buffer, const std::stop_token& stop) {
  BALLAST_ASSIGN_OR_RETURN(const OpenedFile file, OpenRegular(path));
  static_cast<void>(::posix_fadvise(file.fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL));
  while (true) {
    if (stop.stop_requested()) return absl::CancelledError("stopped while the page cache was warmed");
    const ssize_t n = ::read(file.fd.get(), buffer, kReadBytes);
    if (n == 0) return absl::OkStatus();
    if (n < 0 && errno != EINTR) return base::ErrnoStatus(errno, "read " + path.string());
  }
}

std::string Remark(v1::CacheState asked, v1::CacheState found, const CachedPages& pages) {
  if (asked == v1::COLD && found != v1::COLD) {
    return fmt::format(
        "{:.1f} % of the file stayed in the page cache: another process maps or locks it, or its file "
        "system keeps it in memory",
        pages.percent());
  }
  if (asked == v1::WARM && found != v1::WARM) {
    return fmt::format("only {:.1f} % of the file stayed in the page cache: memory has no room for more",
                       pages.percent());
  }
  return {};
}

}  // namespace

absl::StatusOr<CachedPages> CountCachedPages(std::span<const std::filesystem::path> files) {
  CachedPages pages;
  for (const std::filesystem::path& path : files) BALLAST_RETURN_IF_ERROR(CountPages(path, &pages));
  return pages;
}

v1::CacheState JudgeCache(const CachedPages& pages) {
  if (pages.percent() < kColdPercent) return v1::COLD;
  return pages.percent() > kWarmPercent ? v1::WARM : v1::AS_IS;
}

absl::Status Evict(std::span<const std::filesystem::path> files) {
  const auto end = std::chrono::steady_clock::now() + kEvictionTime;
  while (true) {
    for (const std::filesystem::path& path : files) {
      BALLAST_ASSIGN_OR_RETURN(const OpenedFile file, OpenRegular(path));
      // Dirty pages cannot be put out. A file system that cannot be written has none.
      if (::fdatasync(file.fd.get()) != 0 && errno != EROFS && errno != EINVAL) {
        return base::ErrnoStatus(errno, "write back " + path.string());
      }
      if (const int error = ::posix_fadvise(file.fd.get(), 0, 0, POSIX_FADV_DONTNEED); error != 0) {
        return base::ErrnoStatus(error, fmt::format("put {} out of the page cache", path.string()));
      }
    }
    const absl::StatusOr<CachedPages> left = CountCachedPages(files);
    if (!left.ok() || left->cached_pages == 0 || std::chrono::steady_clock::now() >= end) return absl::OkStatus();
    std::this_thread::sleep_for(kEvictionPause);
  }
}

absl::Status Warm(std::span<const std::filesystem::path> files, const std::stop_token& stop) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(kReadBytes);
  for (const std::filesystem::path& path : files) BALLAST_RETURN_IF_ERROR(WarmFile(path, buffer.get(), stop));
  return absl::OkStatus();
}

absl::StatusOr<CacheFinding> PrepareCache(std::span<const std::filesystem::path> files, v1::CacheState asked,
                                          const std::stop_token& stop) {
  if (asked == v1::COLD) BALLAST_RETURN_IF_ERROR(Evict(files));
  if (asked == v1::WARM) BALLAST_RETURN_IF_ERROR(Warm(files, stop));
  CacheFinding finding;
  const absl::StatusOr<CachedPages> pages = CountCachedPages(files);
  if (absl::IsPermissionDenied(pages.status())) {
    finding.remark = std::string(pages.status().message());
    return finding;
  }
  if (!pages.ok()) return pages.status();
  finding.pages = *pages;
  finding.state = JudgeCache(*pages);
  finding.remark = Remark(asked, finding.state, *pages);
  return finding;
}

}  // namespace ballast::model
