// The spool's writing thread: records, drafts and removals, on the disk.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "worker/agent/frame.h"
#include "worker/agent/spool.h"

namespace ballast::agent {
namespace {

constexpr std::chrono::seconds kRetryInterval(1);

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

// Writes `data` at `offset` and nothing behind it, durably.
absl::Status WriteFrom(const std::filesystem::path& path, std::uint64_t offset, std::string_view data) {
  BALLAST_ASSIGN_OR_RETURN(const base::Fd fd, base::OpenFile(path, O_WRONLY | O_CREAT));
  if (::ftruncate(fd.get(), static_cast<off_t>(offset)) != 0) {
    return base::ErrnoStatus(errno, fmt::format("truncate {}", path.string()));
  }
  BALLAST_RETURN_IF_ERROR(PwriteAll(fd.get(), data, offset, path));
  if (::fdatasync(fd.get()) != 0) return base::ErrnoStatus(errno, fmt::format("fdatasync {}", path.string()));
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

}  // namespace

void Spool::WriterLoop() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::vector<Work> batch;
    const Work::Kind kind = queue_.front().kind;
    const AttemptKey key = queue_.front().key;
    // Appends of one attempt go together: one fdatasync for all of them.
    do {
      batch.push_back(std::move(queue_.front()));
      queue_.pop_front();
    } while (kind == Work::Kind::kAppend && !queue_.empty() && queue_.front().kind == kind &&
             queue_.front().key == key);
    lock.unlock();
    std::size_t done = 0;
    const absl::Status status = Write(batch, &done);
    if (done > 0 && kind == Work::Kind::kAppend) CallListener();
    lock.lock();
    if (done > 0) completed_ticket_ = batch[done - 1].ticket;
    if (status.ok()) {
      if (!disk_status_.ok() && kind == Work::Kind::kAppend) base::Log().info("spool: the disk takes records again");
      if (kind == Work::Kind::kAppend) disk_status_ = absl::OkStatus();
      written_changed_.notify_all();
      continue;
    }
    if (disk_status_.ok())
      base::Log().error("spool: {}; records wait in memory until the disk takes them", std::string(status.message()));
    disk_status_ = status;
    ++failure_count_;
    written_changed_.notify_all();
    while (batch.size() > done) {
      queue_.push_front(std::move(batch.back()));
      batch.pop_back();
    }
    if (stopping_) return;
    work_changed_.wait_for(lock, kRetryInterval, [this] { return stopping_; });
  }
}

absl::Status Spool::Write(std::span<const Work> batch, std::size_t* done) {
  const Work& first = batch.front();
  if (first.kind == Work::Kind::kAppend) return WriteAppends(batch, done);
  // What follows is never tried again: a draft is soon replaced, and what could not be deleted is found at the next
  // start.
  *done = batch.size();
  switch (first.kind) {
    case Work::Kind::kAppend:
      break;
    case Work::Kind::kDraft:
      if (const absl::Status status = WriteDraft(first); !status.ok())
        base::Log().debug("spool: draft: {}", std::string(status.message()));
      break;
    case Work::Kind::kDeleteSegment: {
      std::error_code error;
      std::filesystem::remove(DirectoryOf(first.key) / SegmentFileName(first.number), error);
      if (error) base::Log().warn("spool: cannot delete a segment of {}: {}", ToText(first.key), error.message());
      break;
    }
    case Work::Kind::kDeleteAttempt:
      DeleteDirectory(DirectoryOf(first.key));
      break;
    case Work::Kind::kSetAside:
      if (const absl::Status status = MoveAside(first.key); !status.ok())
        base::Log().warn("spool: {}", std::string(status.message()));
      break;
  }
  return absl::OkStatus();
}

absl::Status Spool::WriteAppends(std::span<const Work> batch, std::size_t* done) {
  const AttemptKey& key = batch.front().key;
  const std::filesystem::path directory = DirectoryOf(key);
  while (*done < batch.size()) {
    const Work& next = batch[*done];
    // Where the log ends, by what is durable: a try that failed half-way is written over.
    std::uint64_t segment_first_seq = 0;
    std::uint64_t offset = 0;
    bool given_up = false;
    {
      const std::scoped_lock lock(mutex_);
      const auto found = attempts_.find(key);
      given_up = found == attempts_.end() || found->second.incarnation != next.incarnation;
      if (given_up) {
        queued_bytes_ -= next.bytes.size();
      } else if (!found->second.segments.empty()) {
        const Segment& last = found->second.segments.back();
        // The first record stays alone in its segment, which lives as long as the attempt.
        const bool full = last.size + next.bytes.size() > options_.segment_bytes || last.first_seq == 1;
        if (!full || last.entries.empty()) {
          segment_first_seq = last.first_seq;
          offset = last.size;
        }
      }
    }
    if (given_up) {
      if (next.number == 1) DeleteDirectory(directory);
      ++*done;
      continue;
    }
    const bool new_segment = segment_first_seq == 0;
    if (new_segment) segment_first_seq = next.number;
    if (next.number == 1) {
      std::error_code error;
      std::filesystem::create_directory(directory, error);
      if (error) return base::ErrnoStatus(error.value(), fmt::format("create directory {}", directory.string()));
      BALLAST_RETURN_IF_ERROR(base::SyncDirectory(spool_directory_));
    }
    std::string bytes;
    std::vector<std::uint64_t> offsets;
    for (std::size_t i = *done; i < batch.size() && batch[i].incarnation == next.incarnation; ++i) {
      const std::uint64_t end = offset + bytes.size();
      if (!bytes.empty() && (segment_first_seq == 1 || end + batch[i].bytes.size() > options_.segment_bytes)) break;
      offsets.push_back(end);
      bytes += batch[i].bytes;
    }
    BALLAST_RETURN_IF_ERROR(WriteFrom(directory / SegmentFileName(segment_first_seq), offset, bytes));
    if (new_segment) BALLAST_RETURN_IF_ERROR(base::SyncDirectory(directory));
    const std::scoped_lock lock(mutex_);
    for (const std::uint64_t position : offsets) NoteDurable(batch[(*done)++], segment_first_seq, position);
  }
  return absl::OkStatus();
}

void Spool::NoteDurable(const Work& work, std::uint64_t segment_first_seq, std::uint64_t offset) {
  queued_bytes_ -= work.bytes.size();
  const auto found = attempts_.find(work.key);
  if (found == attempts_.end() || found->second.incarnation != work.incarnation) {
    // Given up while it was being written. A new incarnation starts from an empty directory.
    if (found == attempts_.end()) {
      Enqueue({.kind = Work::Kind::kDeleteAttempt,
               .key = work.key,
               .incarnation = work.incarnation,
               .number = 0,
               .bytes = {}});
    }
    return;
  }
  std::vector<Segment>& segments = found->second.segments;
  if (segments.empty() || segments.back().first_seq != segment_first_seq) {
    segments.push_back({.first_seq = segment_first_seq, .size = 0, .entries = {}});
  }
  Segment& segment = segments.back();
  segment.entries.push_back({.seq = work.number,
                             .offset = static_cast<std::uint32_t>(offset),
                             .length = static_cast<std::uint32_t>(work.bytes.size() - kFrameHeaderBytes)});
  durable_bytes_ += offset + work.bytes.size() - segment.size;
  segment.size = offset + work.bytes.size();
  unacknowledged_bytes_ += work.bytes.size();
}

absl::Status Spool::WriteDraft(const Work& work) {
  // The slot is chosen here, and changes only after a draft is whole on disk: where drafts were replaced in the queue
  // or failed, the next one still spares the youngest whole one.
  const auto find = [&]() -> Attempt* {
    Attempt* const attempt = FindOpen(work.key);
    return attempt == nullptr || attempt->incarnation != work.incarnation ? nullptr : attempt;
  };
  std::uint64_t slot = 0;
  {
    const std::scoped_lock lock(mutex_);
    const Attempt* const attempt = find();
    if (attempt == nullptr) return absl::OkStatus();
    slot = attempt->draft_slot;
  }
  BALLAST_RETURN_IF_ERROR(WriteFrom(DirectoryOf(work.key) / DraftFileName(slot), 0, work.bytes));
  const std::scoped_lock lock(mutex_);
  if (Attempt* const attempt = find(); attempt != nullptr) attempt->draft_slot = slot + 1;
  return absl::OkStatus();
}

absl::Status Spool::MoveAside(const AttemptKey& key) const {
  const std::filesystem::path target = set_aside_directory_ / ToText(key);
  std::error_code error;
  std::filesystem::remove_all(target, error);
  std::filesystem::rename(DirectoryOf(key), target, error);
  if (error)
    return base::ErrnoStatus(error.value(), fmt::format("move {} to {}", DirectoryOf(key).string(), target.string()));

  struct Aside {
    std::filesystem::path path;
    std::filesystem::file_time_type time;
    std::uint64_t bytes = 0;
  };
  std::vector<Aside> all;
  std::uint64_t total = 0;
  for (std::filesystem::directory_iterator entry(set_aside_directory_, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    all.push_back({entry->path(), entry->last_write_time(ignored), DirectoryBytes(entry->path())});
    total += all.back().bytes;
  }
  std::ranges::sort(all, {}, &Aside::time);
  for (const Aside& oldest : all) {
    if (total <= options_.quota_bytes / 4 || oldest.path == target) break;
    DeleteDirectory(oldest.path);
    total -= oldest.bytes;
  }
  return absl::OkStatus();
}

void Spool::DeleteDirectory(const std::filesystem::path& directory) const {
  // First out of the way in one step: a crash in the middle of the removal must not leave half an attempt in the spool.
  const std::filesystem::path trash = trash_directory_ / directory.filename();
  std::error_code error;
  std::filesystem::remove_all(trash, error);
  std::filesystem::rename(directory, trash, error);
  if (error == std::errc::no_such_file_or_directory) return;
  if (!error) std::filesystem::remove_all(trash, error);
  if (error) base::Log().warn("spool: cannot delete {}: {}", directory.string(), error.message());
}

}  // namespace ballast::agent
