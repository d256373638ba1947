// The spool's writing thread: records, drafts and removals, on the disk.
#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "worker/agent/frame.h"
#include "worker/agent/spool.h"

namespace ballast::agent {
namespace {

constexpr std::chrono::seconds kRetryInterval(1);

}  // namespace

void Spool::WriterLoop() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    if (WriteBatch(&lock)) continue;
    if (stopping_) return;
    work_changed_.wait_for(lock, kRetryInterval, [this] { return stopping_; });
  }
}

bool Spool::WriteQueued() {
  std::unique_lock lock(mutex_);
  while (!queue_.empty()) {
    if (!WriteBatch(&lock)) return false;
  }
  return true;
}

bool Spool::WriteBatch(std::unique_lock<std::mutex>* lock) {
  if (queue_.empty()) return false;
  std::vector<Work> batch;
  const Work::Kind kind = queue_.front().kind;
  const AttemptKey key = queue_.front().key;
  // Appends of one attempt go together: one fdatasync for all of them.
  do {
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  } while (kind == Work::Kind::kAppend && !queue_.empty() && queue_.front().kind == kind && queue_.front().key == key);
  lock->unlock();
  std::size_t done = 0;
  bool wrote = false;
  const absl::Status status = Write(batch, &done, &wrote);
  if (done > 0 && kind == Work::Kind::kAppend) CallListener();
  lock->lock();
  if (status.ok()) {
    if (wrote && !disk_status_.ok()) base::Log().info("spool: the disk takes records again");
    if (wrote) disk_status_ = absl::OkStatus();
    NoteCompleted();
    return true;
  }
  if (disk_status_.ok())
    base::Log().error("spool: {}; records wait in memory until the disk takes them", std::string(status.message()));
  disk_status_ = status;
  ++failure_count_;
  while (batch.size() > done) {
    queue_.push_front(std::move(batch.back()));
    batch.pop_back();
  }
  NoteCompleted();
  RemoveWhatWaits(lock);
  return false;
}

void Spool::NoteCompleted() {
  completed_ticket_ = queue_.empty() ? last_ticket_ : queue_.front().ticket - 1;
  written_changed_.notify_all();
}

void Spool::RemoveWhatWaits(std::unique_lock<std::mutex>* lock) {
  // A removal touches nothing that a record before it in the queue still needs: it is of what is acknowledged, or of an
  // attempt that was given up, whose records are passed over.
  const auto is_removal = [](const Work& work) {
    return work.kind != Work::Kind::kAppend && work.kind != Work::Kind::kDraft;
  };
  const auto removals = std::stable_partition(queue_.begin(), queue_.end(), std::not_fn(is_removal));
  std::vector<Work> batch(std::make_move_iterator(removals), std::make_move_iterator(queue_.end()));
  queue_.erase(removals, queue_.end());
  lock->unlock();
  for (const Work& work : batch) {
    std::size_t done = 0;
    bool wrote = false;
    Write(std::span(&work, 1), &done, &wrote).IgnoreError();  // never fails: what could not be removed is only logged
  }
  lock->lock();
  NoteCompleted();
}

absl::Status Spool::Write(std::span<const Work> batch, std::size_t* done, bool* wrote) {
  const Work& first = batch.front();
  if (first.kind == Work::Kind::kAppend) return WriteAppends(batch, done, wrote);
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
    case Work::Kind::kDeleteSegment:
      if (const absl::Status status = disk_->Remove(DirectoryOf(first.key) / SegmentFileName(first.number));
          !status.ok())
        base::Log().warn("spool: {}", std::string(status.message()));
      break;
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

absl::Status Spool::WriteAppends(std::span<const Work> batch, std::size_t* done, bool* wrote) {
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
      BALLAST_RETURN_IF_ERROR(disk_->MakeDirectory(directory));
      BALLAST_RETURN_IF_ERROR(disk_->SyncDirectory(spool_directory_));
    }
    std::string bytes;
    std::vector<std::uint64_t> offsets;
    for (std::size_t i = *done; i < batch.size() && batch[i].incarnation == next.incarnation; ++i) {
      const std::uint64_t end = offset + bytes.size();
      if (!bytes.empty() && (segment_first_seq == 1 || end + batch[i].bytes.size() > options_.segment_bytes)) break;
      offsets.push_back(end);
      bytes += batch[i].bytes;
    }
    BALLAST_RETURN_IF_ERROR(disk_->WriteFrom(directory / SegmentFileName(segment_first_seq), offset, bytes));
    if (new_segment) BALLAST_RETURN_IF_ERROR(disk_->SyncDirectory(directory));
    *wrote = true;
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
  BALLAST_RETURN_IF_ERROR(disk_->WriteFrom(DirectoryOf(work.key) / DraftFileName(slot), 0, work.bytes));
  const std::scoped_lock lock(mutex_);
  if (Attempt* const attempt = find(); attempt != nullptr) attempt->draft_slot = slot + 1;
  return absl::OkStatus();
}

absl::Status Spool::MoveAside(const AttemptKey& key) const {
  const std::string name = ToText(key);
  BALLAST_RETURN_IF_ERROR(disk_->Remove(set_aside_directory_ / name));
  BALLAST_RETURN_IF_ERROR(disk_->Rename(DirectoryOf(key), set_aside_directory_ / name));
  const std::vector<SpoolDisk::Aside> all = disk_->ListByAge(set_aside_directory_);
  std::uint64_t total = 0;
  for (const SpoolDisk::Aside& aside : all) total += aside.bytes;
  for (const SpoolDisk::Aside& oldest : all) {
    if (total <= options_.quota_bytes / 4 || oldest.name == name) break;
    DeleteDirectory(set_aside_directory_ / oldest.name);
    total -= oldest.bytes;
  }
  return absl::OkStatus();
}

void Spool::DeleteDirectory(const std::filesystem::path& directory) const {
  // First out of the way in one step: a crash in the middle of the removal must not leave half an attempt in the spool.
  const std::filesystem::path trash = trash_directory_ / directory.filename();
  absl::Status status = disk_->Remove(trash);
  if (status.ok()) status = disk_->Rename(directory, trash);
  if (absl::IsNotFound(status)) return;
  if (status.ok()) status = disk_->Remove(trash);
  if (!status.ok()) base::Log().warn("spool: {}", std::string(status.message()));
}

}  // namespace ballast::agent
