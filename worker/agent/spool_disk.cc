#include "worker/agent/spool_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/status.h"

namespace ballast::agent {
namespace {

absl::Status PwriteAll(int fd, std::string_view data, std::uint64_t offset, const std::filesystem::path& path) {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return base::ErrnoStatus(errno, fmt::format("write {}", path.string()));
    }
    data.remove_prefix(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return absl::OkStatus();
}

std::uint64_t DirectoryBytes(const std::filesystem::path& directory) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    const std::uintmax_t size = entry->file_size(ignored);
    if (!ignored) bytes += size;
  }
  return bytes;
}

class FileSystem final : public SpoolDisk {
 public:
  absl::Status EnsureDirectory(const std::filesystem::path& path) override {
    return base::EnsureWritableDirectory(path);
  }

  absl::Status MakeDirectory(const std::filesystem::path& path) override {
    std::error_code error;
    std::filesystem::create_directory(path, error);
    if (error) return base::ErrnoStatus(error.value(), fmt::format("create directory {}", path.string()));
    return absl::OkStatus();
  }

  absl::Status SyncDirectory(const std::filesystem::path& path) override { return base::SyncDirectory(path); }

  absl::StatusOr<std::vector<std::string>> List(const std::filesystem::path& path) override {
    std::vector<std::string> names;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(path, error);
         !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
      names.push_back(entry->path().filename().string());
    }
    if (error) return base::ErrnoStatus(error.value(), fmt::format("list {}", path.string()));
    std::ranges::sort(names);
    return names;
  }

  absl::StatusOr<std::string> Read(const std::filesystem::path& path, std::size_t max_bytes) override {
    return base::ReadFile(path, max_bytes);
  }

  absl::StatusOr<std::string> ReadAt(const std::filesystem::path& path, std::uint64_t offset,
                                     std::size_t size) override {
    BALLAST_ASSIGN_OR_RETURN(const base::Fd fd, base::OpenFile(path, O_RDONLY));
    std::string content(size, '\0');
    std::size_t done = 0;
    while (done < size) {
      const ssize_t n = ::pread(fd.get(), content.data() + done, size - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return base::ErrnoStatus(errno, fmt::format("read {}", path.string()));
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    content.resize(done);
    return content;
  }

  absl::Status WriteFrom(const std::filesystem::path& path, std::uint64_t offset, std::string_view data) override {
    BALLAST_ASSIGN_OR_RETURN(const base::Fd fd, base::OpenFile(path, O_WRONLY | O_CREAT));
    if (::ftruncate(fd.get(), static_cast<off_t>(offset)) != 0) {
      return base::ErrnoStatus(errno, fmt::format("truncate {}", path.string()));
    }
    BALLAST_RETURN_IF_ERROR(PwriteAll(fd.get(), data, offset, path));
    if (::fdatasync(fd.get()) != 0) return base::ErrnoStatus(errno, fmt::format("fdatasync {}", path.string()));
    return absl::OkStatus();
  }

  absl::Status Remove(const std::filesystem::path& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) return base::ErrnoStatus(error.value(), fmt::format("delete {}", path.string()));
    return absl::OkStatus();
  }

  absl::Status Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    std::error_code error;
    std::filesystem::rename(from, to, error);
    if (error) return base::ErrnoStatus(error.value(), fmt::format("move {} to {}", from.string(), to.string()));
    return absl::OkStatus();
  }

  std::vector<Aside> ListByAge(const std::filesystem::path& path) override {
    std::vector<Aside> all;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(path, error);
         !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
      std::error_code ignored;
      all.push_back(
          {entry->path().filename().string(), entry->last_write_time(ignored), DirectoryBytes(entry->path())});
    }
    std::ranges::sort(all, {}, &Aside::time);
    return all;
  }
};

}  // namespace

SpoolDisk& RealSpoolDisk() {
  static FileSystem disk;
  return disk;
}

}  // namespace ballast::agent
