#include "common/models/digest_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/base/units.h"

namespace ballast::models {
namespace {

// What makes a file the same file, without its digest.
v1::FileDigest IdentityOf(const std::string& path, const struct stat& info) {
  v1::FileDigest identity;
  identity.set_path(path);
  identity.set_size_bytes(static_cast<std::uint64_t>(info.st_size));
  identity.set_modify_time_ns(std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec);
  identity.set_inode(info.st_ino);
  return identity;
}

absl::StatusOr<v1::FileDigest> IdentityOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return base::ErrnoStatus(errno, fmt::format("look at {}", path));
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(fmt::format("{} is no regular file", path));
  return IdentityOf(path, info);
}

bool SameFile(const v1::FileDigest& a, const v1::FileDigest& b) {
  return a.size_bytes() == b.size_bytes() && a.modify_time_ns() == b.modify_time_ns() && a.inode() == b.inode();
}

}  // namespace

DigestCache::DigestCache(std::filesystem::path file) : file_(std::move(file)) {
  v1::FileDigests kept;
  if (const auto content = base::ReadFile(file_); content.ok() && kept.ParseFromString(*content)) {
    for (v1::FileDigest& digest : *kept.mutable_files()) known_.emplace(digest.path(), std::move(digest));
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

absl::StatusOr<v1::FileDigest> DigestCache::Get(const std::filesystem::path& path,
                                                std::chrono::system_clock::time_point deadline) {
  const std::string name = path.string();
  BALLAST_ASSIGN_OR_RETURN(const v1::FileDigest identity, IdentityOf(name));
  std::unique_lock lock(mutex_);
  const auto known = [&] {
    const auto found = known_.find(name);
    return found != known_.end() && SameFile(found->second, identity);
  };
  const auto waits = [&] { return std::ranges::find(waiting_, name) != waiting_.end(); };
  if (known()) return known_[name];
  if (!waits()) {
    problems_.erase(name);
    waiting_.push_back(name);
    changed_.notify_all();
  }
  changed_.wait_until(lock, deadline, [&] { return !waits(); });
  if (known()) return known_[name];
  if (const auto problem = problems_.find(name); problem != problems_.end()) return problem->second;
  if (!waits()) return absl::UnavailableError(fmt::format("{} changes while it is read; try again later", name));
  return absl::AbortedError(fmt::format(
      "the SHA-256 of {} is being computed, which is done once: {} of {} so far; submit again in a moment", name,
      base::FormatBytes(waiting_.front() == name ? read_bytes_ : 0), base::FormatBytes(identity.size_bytes())));
}

absl::StatusOr<v1::FileDigest> DigestCache::Find(const std::string& sha256) {
  std::optional<v1::FileDigest> found;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [path, digest] : known_) {
      if (digest.sha256() == sha256) found = digest;
    }
  }
  if (!found) return absl::NotFoundError(fmt::format("no file with the SHA-256 {}", sha256));
  const absl::StatusOr<v1::FileDigest> now = IdentityOf(found->path());
  if (now.ok() && SameFile(*now, *found)) return *found;
  return absl::DataLossError(
      now.ok() ? fmt::format("{} was changed after the job had been accepted; submit it again", found->path())
               : std::string(now.status().message()));
}

void DigestCache::Run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !waiting_.empty(); })) {
    const std::string path = waiting_.front();
    read_bytes_ = 0;
    lock.unlock();
    absl::StatusOr<v1::FileDigest> digest = Compute(path, stop);
    lock.lock();
    if (digest.ok()) {
      known_[path] = *std::move(digest);
      Keep();
    } else {
      problems_[path] = digest.status();
    }
    waiting_.pop_front();
    changed_.notify_all();
  }
}

absl::StatusOr<v1::FileDigest> DigestCache::Compute(const std::filesystem::path& path, const std::stop_token& stop) {
  BALLAST_ASSIGN_OR_RETURN(const base::Fd fd, base::OpenFile(path, O_RDONLY | O_NONBLOCK));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return base::ErrnoStatus(errno, fmt::format("look at {}", path.string()));
  v1::FileDigest digest = IdentityOf(path.string(), info);
  base::Sha256 sha256;
  BALLAST_RETURN_IF_ERROR(base::ReadInPieces(fd.get(), digest.size_bytes(), path.string(), stop,
                                             [&](std::string_view piece) -> absl::Status {
                                               sha256.Update(piece);
                                               const std::lock_guard lock(mutex_);
                                               read_bytes_ += piece.size();
                                               return absl::OkStatus();
                                             }));
  BALLAST_ASSIGN_OR_RETURN(const v1::FileDigest after, IdentityOf(path.string()));
  if (!SameFile(after, digest)) {
    return absl::UnavailableError(fmt::format("{} changes while it is read; try again later", path.string()));
  }
  digest.set_sha256(sha256.Finish());
  return digest;
}

void DigestCache::Keep() const {
  v1::FileDigests kept;
  for (const auto& [path, digest] : known_) *kept.add_files() = digest;
  const absl::Status status = base::WriteFileAtomically(file_, kept.SerializeAsString());
  if (!status.ok())
    base::Log().warn("digests are computed again after the next start: {}", std::string(status.message()));
}

}  // namespace ballast::models
