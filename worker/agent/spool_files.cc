#include "worker/agent/spool_files.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "worker/agent/frame.h"

namespace ballast::agent {
namespace {

constexpr std::string_view kSegmentSuffix = ".seg";
constexpr std::size_t kSegmentDigits = 20;
constexpr std::size_t kMaxFileBytes = 64U << 20U;

// The record in a frame, where it belongs to this attempt.
std::optional<v1::Record> ParseRecord(std::string_view payload, const AttemptKey& key) {
  v1::Record record;
  if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return std::nullopt;
  if (record.run_id() != key.run_id || record.attempt() != key.attempt || record.seq() == 0) return std::nullopt;
  if (record.content_case() == v1::Record::CONTENT_NOT_SET) return std::nullopt;
  return record;
}

void ReadSegment(SpoolDisk* disk, const std::filesystem::path& path, std::uint64_t first_seq, const AttemptKey& key,
                 AttemptFiles* files) {
  const absl::StatusOr<std::string> content = disk->Read(path, kMaxFileBytes);
  if (!content.ok()) {
    files->damage.push_back(fmt::format("{}", std::string(content.status().message())));
    return;
  }
  Segment segment;
  segment.first_seq = first_seq;
  std::size_t strange = 0;
  const FrameScan scan = ScanFrames(*content, [&](std::size_t offset, std::string_view payload) {
    std::optional<v1::Record> record = ParseRecord(payload, key);
    if (!record || record->seq() < files->next_seq || files->finished) {
      ++strange;
      return;
    }
    segment.entries.push_back({.seq = record->seq(),
                               .offset = static_cast<std::uint32_t>(offset),
                               .length = static_cast<std::uint32_t>(payload.size())});
    files->next_seq = record->seq() + 1;
    if (record->has_started() && record->seq() == 1) files->started = std::move(*record->mutable_started());
    if (record->has_finished()) files->finished = true;
  });
  segment.size = scan.clean_bytes;
  if (scan.lost_bytes > 0) {
    files->damage.push_back(fmt::format("{}: cut off {} bytes at {} that make no record", path.string(),
                                        scan.lost_bytes, scan.clean_bytes));
  }
  if (scan.skipped_frames + strange > 0) {
    files->damage.push_back(
        fmt::format("{}: passed over {} damaged records", path.string(), scan.skipped_frames + strange));
  }
  files->segments.push_back(std::move(segment));
}

struct Draft {
  std::optional<v1::Record> chunk;
  v1::Record result;
};

std::optional<Draft> ReadDraft(SpoolDisk* disk, const std::filesystem::path& path, const AttemptKey& key) {
  const absl::StatusOr<std::string> content = disk->Read(path, kMaxFileBytes);
  if (!content.ok()) return std::nullopt;
  Draft draft;
  bool whole = false;
  ScanFrames(*content, [&](std::size_t, std::string_view payload) {
    std::optional<v1::Record> record = ParseRecord(payload, key);
    if (!record || whole) return;
    if (record->has_chunk()) {
      draft.chunk = std::move(*record);
    } else if (record->has_finished()) {
      draft.result = std::move(*record);
      whole = true;
    }
  });
  if (!whole) return std::nullopt;
  return draft;
}

// Which of two drafts is the younger: the one further on in the log, and there the one that has seen more samples.
std::pair<std::uint64_t, std::uint64_t> AgeOf(const Draft& draft) {
  return {draft.result.seq(), draft.result.finished().result().sample_count()};
}

void ReadDrafts(SpoolDisk* disk, const std::filesystem::path& directory, const AttemptKey& key, AttemptFiles* files) {
  std::optional<Draft> youngest;
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{1}}) {
    std::optional<Draft> draft = ReadDraft(disk, directory / DraftFileName(number), key);
    if (draft && (!youngest || AgeOf(*draft) > AgeOf(*youngest))) youngest = std::move(draft);
  }
  if (!youngest) return;
  if (youngest->chunk && youngest->chunk->seq() == files->next_seq) files->draft_chunk = std::move(youngest->chunk);
  files->draft_result = std::move(*youngest->result.mutable_finished()->mutable_result());
}

}  // namespace

bool Segment::AllAcknowledged() const {
  return std::ranges::all_of(entries, &SegmentEntry::acknowledged);
}

std::string SegmentFileName(std::uint64_t first_seq) {
  return fmt::format("{:0{}}{}", first_seq, kSegmentDigits, kSegmentSuffix);
}

std::optional<std::uint64_t> ParseSegmentFileName(const std::string& name) {
  if (name.size() != kSegmentDigits + kSegmentSuffix.size() || !name.ends_with(kSegmentSuffix)) return std::nullopt;
  std::uint64_t first_seq = 0;
  const char* const end = name.data() + kSegmentDigits;
  const auto [parsed, error] = std::from_chars(name.data(), end, first_seq);
  if (error != std::errc() || parsed != end || first_seq == 0) return std::nullopt;
  return first_seq;
}

std::string DraftFileName(std::uint64_t number) {
  return fmt::format("draft.{}", number % 2);
}

absl::StatusOr<AttemptFiles> ReadAttemptFiles(SpoolDisk* disk, const std::filesystem::path& directory,
                                              const AttemptKey& key) {
  BALLAST_ASSIGN_OR_RETURN(const std::vector<std::string> names, disk->List(directory));
  AttemptFiles files;
  for (const std::string& name : names) {  // their order is that of the seqs
    const std::optional<std::uint64_t> first_seq = ParseSegmentFileName(name);
    if (!first_seq) continue;
    // The name keeps the log's place even where every record before was acknowledged and deleted.
    files.next_seq = std::max(files.next_seq, *first_seq);
    ReadSegment(disk, directory / name, *first_seq, key, &files);
  }
  ReadDrafts(disk, directory, key, &files);
  return files;
}

std::string EncodeDraft(const AttemptKey& key, std::uint64_t next_seq, const v1::Chunk* growing,
                        const v1::RunResult& result_so_far) {
  std::string bytes;
  v1::Record record;
  record.set_run_id(key.run_id);
  record.set_attempt(key.attempt);
  record.set_seq(next_seq);
  if (growing != nullptr) {
    *record.mutable_chunk() = *growing;
    AppendFrame(record.SerializeAsString(), &bytes);
    record.set_seq(next_seq + 1);
  }
  *record.mutable_finished()->mutable_result() = result_so_far;
  AppendFrame(record.SerializeAsString(), &bytes);
  return bytes;
}

}  // namespace ballast::agent
