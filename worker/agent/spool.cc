#include "worker/agent/spool.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "worker/agent/frame.h"

namespace ballast::agent {
namespace {

constexpr std::uint64_t kMinSegmentsPerQuota = 8;

std::string FrameOf(const AttemptKey& key, std::uint64_t seq, v1::Record* record) {
  record->set_run_id(key.run_id);
  record->set_attempt(key.attempt);
  record->set_seq(seq);
  std::string frame;
  AppendFrame(record->SerializeAsString(), &frame);
  return frame;
}

SpoolOptions WithFittingSegments(SpoolOptions options) {
  options.segment_bytes = std::min(options.segment_bytes, options.quota_bytes / kMinSegmentsPerQuota);
  return options;
}

std::uint64_t SizeOf(const std::vector<Segment>& segments) {
  std::uint64_t size = 0;
  for (const Segment& segment : segments) size += segment.size;
  return size;
}

std::uint64_t BytesOf(const SegmentEntry& entry) {
  return kFrameHeaderBytes + entry.length;
}

}  // namespace

bool Spool::Attempt::Done() const {
  if (!finished || segments.empty() || segments.back().entries.empty()) return false;
  return segments.back().entries.back().seq + 1 == next_seq && std::ranges::all_of(segments, &Segment::AllAcknowledged);
}

Spool::Spool(SpoolOptions options)
    : options_(WithFittingSegments(std::move(options))),
      disk_(options_.disk),
      spool_directory_(options_.directory / "spool"),
      set_aside_directory_(options_.directory / "set_aside"),
      trash_directory_(options_.directory / "trash") {}

absl::StatusOr<std::unique_ptr<Spool>> Spool::Open(SpoolOptions options, std::vector<CutOffAttempt>* cut_off) {
  std::unique_ptr<Spool> spool(new Spool(std::move(options)));
  SpoolDisk& disk = *spool->disk_;
  BALLAST_RETURN_IF_ERROR(disk.EnsureDirectory(spool->spool_directory_));
  BALLAST_RETURN_IF_ERROR(disk.EnsureDirectory(spool->set_aside_directory_));
  // Left by a crash between a rename and its removal. Where it cannot be removed, it is tried again with the next.
  disk.Remove(spool->trash_directory_).IgnoreError();
  BALLAST_RETURN_IF_ERROR(disk.EnsureDirectory(spool->trash_directory_));
  BALLAST_RETURN_IF_ERROR(spool->Replay(cut_off));
  if (spool->options_.own_thread) spool->writer_ = std::jthread([raw = spool.get()] { raw->WriterLoop(); });
  return spool;
}

Spool::~Spool() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  work_changed_.notify_all();
  if (writer_.joinable()) writer_.join();
}

std::filesystem::path Spool::DirectoryOf(const AttemptKey& key) const {
  return spool_directory_ / ToText(key);
}

absl::Status Spool::Replay(std::vector<CutOffAttempt>* cut_off) {
  BALLAST_ASSIGN_OR_RETURN(const std::vector<std::string> names, disk_->List(spool_directory_));
  for (const std::string& name : names) BALLAST_RETURN_IF_ERROR(ReplayAttempt(spool_directory_ / name, cut_off));
  return absl::OkStatus();
}

absl::Status Spool::ReplayAttempt(const std::filesystem::path& directory, std::vector<CutOffAttempt>* cut_off) {
  const std::optional<AttemptKey> key = ParseAttemptKey(directory.filename().string());
  if (!key) {
    base::Log().warn("spool: {} is no attempt's directory and is left alone", directory.string());
    return absl::OkStatus();
  }
  BALLAST_ASSIGN_OR_RETURN(AttemptFiles files, ReadAttemptFiles(disk_, directory, *key));
  const bool never_began = std::ranges::all_of(
      files.segments, [](const Segment& segment) { return segment.first_seq == 1 && segment.entries.empty(); });
  if (never_began && !files.draft_result) {  // cut off before the first record was durable: nobody acted on it
    DeleteDirectory(directory);
    return absl::OkStatus();
  }
  for (const std::string& damage : files.damage) base::Log().warn("spool: {}", damage);
  if (!files.started) {
    base::Log().error("spool: {} lost its first record; its files are set aside in {}", ToText(*key),
                      set_aside_directory_.string());
    return MoveAside(*key);
  }

  // A process that died in a write may have left what no power cut would leave: what is read here is sent, so it is
  // made durable first, and the torn end is cut off. Only the last segment can be meant.
  const Segment& last = files.segments.back();
  BALLAST_RETURN_IF_ERROR(disk_->WriteFrom(directory / SegmentFileName(last.first_seq), last.size, {}));
  BALLAST_RETURN_IF_ERROR(disk_->SyncDirectory(directory));

  const std::scoped_lock lock(mutex_);
  Attempt& attempt = attempts_[*key];
  attempt.incarnation = ++last_incarnation_;
  attempt.next_seq = files.next_seq;
  attempt.finished = files.finished;
  attempt.segments = std::move(files.segments);
  durable_bytes_ += SizeOf(attempt.segments);
  for (const Segment& segment : attempt.segments) {
    for (const SegmentEntry& entry : segment.entries) unacknowledged_bytes_ += BytesOf(entry);
  }
  if (attempt.finished) return absl::OkStatus();
  if (files.draft_chunk) EnqueueRecord(*key, &attempt, FrameOf(*key, attempt.next_seq, &*files.draft_chunk));
  cut_off->push_back({*key, *std::move(files.started), std::move(files.draft_result)});
  return absl::OkStatus();
}

bool Spool::Await(std::unique_lock<std::mutex>* lock, std::chrono::milliseconds timeout,
                  const std::function<bool()>& condition) {
  if (options_.own_thread) return written_changed_.wait_for(*lock, timeout, condition);
  while (!condition() && WriteBatch(lock)) {
  }
  return condition();
}

void Spool::Enqueue(Work work) {
  work.ticket = ++last_ticket_;
  queue_.push_back(std::move(work));
  work_changed_.notify_all();
}

void Spool::EnqueueRecord(const AttemptKey& key, Attempt* attempt, std::string frame) {
  queued_bytes_ += frame.size();
  Enqueue({.kind = Work::Kind::kAppend,
           .key = key,
           .incarnation = attempt->incarnation,
           .number = attempt->next_seq,
           .bytes = std::move(frame)});
  ++attempt->next_seq;
}

Spool::Attempt* Spool::FindOpen(const AttemptKey& key) {
  const auto found = attempts_.find(key);
  return found == attempts_.end() || found->second.finished ? nullptr : &found->second;
}

absl::Status Spool::Begin(const AttemptKey& key, const v1::AttemptStarted& started, std::chrono::milliseconds timeout) {
  if (!IsUsableRunId(key.run_id) || key.attempt == 0) {
    return absl::InvalidArgumentError(fmt::format("'{}' cannot name an attempt", ToText(key)));
  }
  std::unique_lock lock(mutex_);
  if (attempts_.contains(key)) return absl::AlreadyExistsError(fmt::format("the spool has {} already", ToText(key)));
  Attempt& attempt = attempts_[key];
  attempt.incarnation = ++last_incarnation_;
  const std::uint64_t incarnation = attempt.incarnation;
  v1::Record record;
  *record.mutable_started() = started;
  EnqueueRecord(key, &attempt, FrameOf(key, 1, &record));
  const std::uint64_t ticket = last_ticket_;
  const std::uint64_t failures_before = failure_count_;
  Await(&lock, timeout, [&] { return completed_ticket_ >= ticket || failure_count_ > failures_before || stopping_; });
  if (completed_ticket_ >= ticket) return absl::OkStatus();
  // Given up: the writer passes over, or takes away, what belongs to an incarnation that is not there.
  const auto found = attempts_.find(key);
  if (found != attempts_.end() && found->second.incarnation == incarnation) Forget(found);
  if (failure_count_ > failures_before) return disk_status_;
  return absl::DeadlineExceededError(fmt::format("the disk of {} did not answer", options_.directory.string()));
}

absl::Status Spool::AppendChunk(const AttemptKey& key, v1::Chunk chunk) {
  v1::Record record;
  *record.mutable_chunk() = std::move(chunk);
  const std::scoped_lock lock(mutex_);
  Attempt* const attempt = FindOpen(key);
  if (attempt == nullptr) return absl::FailedPreconditionError(fmt::format("{} is not open in the spool", ToText(key)));
  std::string frame = FrameOf(key, attempt->next_seq, &record);
  if (frame.size() > kMaxFramePayloadBytes) return absl::ResourceExhaustedError("the chunk is too large for a record");
  if (durable_bytes_ + queued_bytes_ + frame.size() > options_.quota_bytes) {
    return absl::ResourceExhaustedError(
        fmt::format("the spool's quota of {} bytes is used up (spool_quota_bytes)", options_.quota_bytes));
  }
  if (queued_bytes_ + frame.size() > options_.queue_bytes) {
    return disk_status_.ok() ? absl::ResourceExhaustedError(
                                   fmt::format("the disk of {} does not keep up", options_.directory.string()))
                             : absl::ResourceExhaustedError(std::string(disk_status_.message()));
  }
  EnqueueRecord(key, attempt, std::move(frame));
  return absl::OkStatus();
}

void Spool::SaveDraft(const AttemptKey& key, const v1::Chunk* growing, const v1::RunResult& result_so_far) {
  const std::scoped_lock lock(mutex_);
  Attempt* const attempt = FindOpen(key);
  if (attempt == nullptr) return;
  // One that still waits is out of date. The new one goes to the end: it may continue a record that is queued behind
  // the old one.
  std::erase_if(queue_, [&](const Work& work) { return work.kind == Work::Kind::kDraft && work.key == key; });
  Enqueue({.kind = Work::Kind::kDraft,
           .key = key,
           .incarnation = attempt->incarnation,
           .number = 0,
           .bytes = EncodeDraft(key, attempt->next_seq, growing, result_so_far)});
}

absl::Status Spool::Finish(const AttemptKey& key, const v1::AttemptFinished& finished) {
  v1::Record record;
  *record.mutable_finished() = finished;
  const std::scoped_lock lock(mutex_);
  Attempt* const attempt = FindOpen(key);
  if (attempt == nullptr) return absl::FailedPreconditionError(fmt::format("{} is not open in the spool", ToText(key)));
  EnqueueRecord(key, attempt, FrameOf(key, attempt->next_seq, &record));
  attempt->finished = true;
  return absl::OkStatus();
}

absl::Status Spool::Flush(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  const std::uint64_t ticket = last_ticket_;
  if (Await(&lock, timeout, [&] { return completed_ticket_ >= ticket; })) return absl::OkStatus();
  if (!disk_status_.ok()) return disk_status_;
  return absl::DeadlineExceededError(fmt::format("the disk of {} did not answer", options_.directory.string()));
}

void Spool::Acknowledge(const AttemptKey& key, std::span<const std::uint64_t> seqs) {
  const std::scoped_lock lock(mutex_);
  const auto found = attempts_.find(key);
  if (found == attempts_.end()) return;
  std::vector<Segment>& segments = found->second.segments;
  for (const std::uint64_t seq : seqs) {
    const auto after = std::ranges::upper_bound(segments, seq, {}, &Segment::first_seq);
    if (after == segments.begin()) continue;
    std::vector<SegmentEntry>& entries = std::prev(after)->entries;
    const auto entry = std::ranges::lower_bound(entries, seq, {}, &SegmentEntry::seq);
    if (entry == entries.end() || entry->seq != seq || entry->acknowledged) continue;
    entry->acknowledged = true;
    unacknowledged_bytes_ -= BytesOf(*entry);
  }
  DeleteAcknowledged(key, &found->second);
}

void Spool::DeleteAcknowledged(const AttemptKey& key, Attempt* attempt) {
  if (attempt->Done()) {
    const std::uint64_t incarnation = attempt->incarnation;
    Forget(attempts_.find(key));
    Enqueue({.kind = Work::Kind::kDeleteAttempt, .key = key, .incarnation = incarnation, .number = 0, .bytes = {}});
    return;
  }
  // The first segment proves that the attempt began, the last one keeps the log's place.
  for (std::size_t i = 1; i + 1 < attempt->segments.size();) {
    Segment& segment = attempt->segments[i];
    if (!segment.AllAcknowledged()) {
      ++i;
      continue;
    }
    durable_bytes_ -= segment.size;
    Enqueue({.kind = Work::Kind::kDeleteSegment,
             .key = key,
             .incarnation = attempt->incarnation,
             .number = segment.first_seq,
             .bytes = {}});
    attempt->segments.erase(attempt->segments.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Spool::Forget(std::map<AttemptKey, Attempt>::iterator position) {
  durable_bytes_ -= SizeOf(position->second.segments);
  for (const Segment& segment : position->second.segments) {
    for (const SegmentEntry& entry : segment.entries) {
      if (!entry.acknowledged) unacknowledged_bytes_ -= BytesOf(entry);
    }
  }
  attempts_.erase(position);
}

void Spool::SetAside(const AttemptKey& key, std::string_view reason) {
  const std::scoped_lock lock(mutex_);
  const auto found = attempts_.find(key);
  if (found == attempts_.end()) return;
  base::Log().warn("spool: the records of {} are set aside in {}: {}", ToText(key), set_aside_directory_.string(),
                   reason);
  const std::uint64_t incarnation = found->second.incarnation;
  Forget(found);
  Enqueue({.kind = Work::Kind::kSetAside, .key = key, .incarnation = incarnation, .number = 0, .bytes = {}});
}

bool Spool::Contains(const AttemptKey& key) const {
  const std::scoped_lock lock(mutex_);
  return attempts_.contains(key);
}

std::vector<AttemptKey> Spool::Held() const {
  const std::scoped_lock lock(mutex_);
  std::vector<AttemptKey> keys;
  keys.reserve(attempts_.size());
  for (const auto& [key, attempt] : attempts_) keys.push_back(key);
  return keys;
}

std::uint64_t Spool::unacknowledged_bytes() const {
  const std::scoped_lock lock(mutex_);
  return unacknowledged_bytes_;
}

absl::Status Spool::disk_status() const {
  const std::scoped_lock lock(mutex_);
  return disk_status_;
}

std::uint64_t Spool::undelivered_bytes() const {
  const std::scoped_lock lock(mutex_);
  return unacknowledged_bytes_ + queued_bytes_;
}

std::uint64_t Spool::total_bytes() const {
  const std::scoped_lock lock(mutex_);
  return durable_bytes_ + queued_bytes_;
}

void Spool::SetListener(std::function<void()> listener) {
  const std::scoped_lock lock(listener_mutex_);
  listener_ = std::move(listener);
}

void Spool::CallListener() {
  const std::scoped_lock lock(listener_mutex_);
  if (listener_) listener_();
}

std::optional<Spool::Position> Spool::FindUnacknowledged(const std::map<AttemptKey, std::uint64_t>& after,
                                                         const AttemptKey* only) const {
  const std::scoped_lock lock(mutex_);
  for (const auto& [key, attempt] : attempts_) {
    if (only != nullptr && key != *only) continue;
    const auto read = after.find(key);
    const std::uint64_t last_read = read == after.end() ? 0 : read->second;
    for (const Segment& segment : attempt.segments) {
      if (segment.entries.empty() || segment.entries.back().seq <= last_read) continue;
      auto entry = std::ranges::upper_bound(segment.entries, last_read, {}, &SegmentEntry::seq);
      while (entry != segment.entries.end() && entry->acknowledged) ++entry;
      if (entry == segment.entries.end()) continue;
      return Position{.key = key,
                      .seq = entry->seq,
                      .file = DirectoryOf(key) / SegmentFileName(segment.first_seq),
                      .offset = entry->offset,
                      .length = entry->length};
    }
  }
  return std::nullopt;
}

}  // namespace ballast::agent
