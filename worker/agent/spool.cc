#include "worker/agent/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
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

namespace ballast::agent {
namespace {

constexpr std::chrono::seconds kRetryInterval(1);
constexpr std::size_t kMaxRememberedAttempts = 256;
constexpr std::uint64_t kMinSegmentsPerQuota = 8;

std::string FrameOf(const AttemptKey& key, std::uint64_t seq, v1::Record* record) {
  record->set_run_id(key.run_id);
  record->set_attempt(key.attempt);
  record->set_seq(seq);
  std::string frame;
  AppendFrame(record->SerializeAsString(), &frame);
  return frame;
}

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

// The record at a position. NOT_FOUND when its file is gone, DATA_LOSS when it is damaged.
absl::StatusOr<v1::Record> ReadRecord(const Spool::Position& position) {
  BALLAST_ASSIGN_OR_RETURN(const base::Fd fd, base::OpenFile(position.file, O_RDONLY));
  std::string frame(kFrameHeaderBytes + position.length, '\0');
  std::size_t size = 0;
  while (size < frame.size()) {
    const ssize_t n =
        ::pread(fd.get(), frame.data() + size, frame.size() - size, static_cast<off_t>(position.offset + size));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::ErrnoStatus(errno, fmt::format("read {}", position.file.string()));
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  const std::optional<std::string_view> payload = FrameAt(std::string_view(frame).substr(0, size), 0);
  v1::Record record;
  if (!payload || !record.ParseFromArray(payload->data(), static_cast<int>(payload->size()))) {
    return absl::DataLossError(fmt::format("{} is damaged at {}", position.file.string(), position.offset));
  }
  return record;
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

bool Spool::Attempt::Done() const {
  if (!finished || segments.empty() || segments.back().entries.empty()) return false;
  return segments.back().entries.back().seq + 1 == next_seq && std::ranges::all_of(segments, &Segment::AllAcknowledged);
}

Spool::Spool(SpoolOptions options)
    : options_(WithFittingSegments(std::move(options))),
      spool_directory_(options_.directory / "spool"),
      set_aside_directory_(options_.directory / "set_aside"),
      trash_directory_(options_.directory / "trash") {}

absl::StatusOr<std::unique_ptr<Spool>> Spool::Open(SpoolOptions options, std::vector<CutOffAttempt>* cut_off) {
  std::unique_ptr<Spool> spool(new Spool(std::move(options)));
  BALLAST_RETURN_IF_ERROR(base::EnsureWritableDirectory(spool->spool_directory_));
  BALLAST_RETURN_IF_ERROR(base::EnsureWritableDirectory(spool->set_aside_directory_));
  std::error_code error;
  std::filesystem::remove_all(spool->trash_directory_, error);  // left by a crash between a rename and its removal
  BALLAST_RETURN_IF_ERROR(base::EnsureWritableDirectory(spool->trash_directory_));
  BALLAST_RETURN_IF_ERROR(spool->Replay(cut_off));
  spool->writer_ = std::jthread([raw = spool.get()] { raw->WriterLoop(); });
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
  std::vector<std::filesystem::path> directories;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(spool_directory_, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    directories.push_back(entry->path());
  }
  if (error) return base::ErrnoStatus(error.value(), fmt::format("list {}", spool_directory_.string()));
  std::ranges::sort(directories);
  for (const std::filesystem::path& directory : directories) {
    BALLAST_RETURN_IF_ERROR(ReplayAttempt(directory, cut_off));
  }
  return absl::OkStatus();
}

absl::Status Spool::ReplayAttempt(const std::filesystem::path& directory, std::vector<CutOffAttempt>* cut_off) {
  const std::optional<AttemptKey> key = ParseAttemptKey(directory.filename().string());
  if (!key) {
    base::Log().warn("spool: {} is no attempt's directory and is left alone", directory.string());
    return absl::OkStatus();
  }
  BALLAST_ASSIGN_OR_RETURN(AttemptFiles files, ReadAttemptFiles(directory, *key));
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
  written_changed_.wait_for(
      lock, timeout, [&] { return completed_ticket_ >= ticket || failure_count_ > failures_before || stopping_; });
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
  if (written_changed_.wait_for(lock, timeout, [&] { return completed_ticket_ >= ticket; })) return absl::OkStatus();
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

std::optional<v1::Record> SpoolReader::Next() {
  if (last_read_.size() > kMaxRememberedAttempts) {
    std::erase_if(last_read_, [this](const auto& entry) { return !spool_->Contains(entry.first); });
  }
  while (const std::optional<Spool::Position> position =
             spool_->FindUnacknowledged(last_read_, only_ ? &*only_ : nullptr)) {
    last_read_[position->key] = position->seq;
    absl::StatusOr<v1::Record> record = ReadRecord(*position);
    if (record.ok()) return *std::move(record);
    if (absl::IsNotFound(record.status())) continue;  // acknowledged or set aside just now
    // It would be tried again for ever, and keep its attempt for ever.
    base::Log().error("spool: record {} of {} is lost: {}", position->seq, ToText(position->key),
                      std::string(record.status().message()));
    spool_->Acknowledge(position->key, std::span(&position->seq, 1));
  }
  return std::nullopt;
}

void SpoolReader::Rewind() {
  last_read_.clear();
}

}  // namespace ballast::agent
