// The files of one attempt in the spool: segments of records, and drafts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/record.pb.h"
#include "worker/agent/attempt_key.h"
#include "worker/agent/spool_disk.h"

namespace ballast::agent {

// A record in a segment.
struct SegmentEntry {
  std::uint64_t seq = 0;
  std::uint32_t offset = 0;  // of the frame
  std::uint32_t length = 0;  // of the payload
  bool acknowledged = false;
};

// A file of records, named after its first.
struct Segment {
  std::uint64_t first_seq = 0;
  std::uint64_t size = 0;  // end of the last good frame
  std::vector<SegmentEntry> entries;

  [[nodiscard]] bool AllAcknowledged() const;
};

// `00000000000000000001.seg`, and back; nothing for another name.
[[nodiscard]] std::string SegmentFileName(std::uint64_t first_seq);
[[nodiscard]] std::optional<std::uint64_t> ParseSegmentFileName(const std::string& name);
// `draft.0` or `draft.1`: written in turns, so that one is whole whenever the power goes.
[[nodiscard]] std::string DraftFileName(std::uint64_t number);

// What lies in an attempt's directory.
struct AttemptFiles {
  std::vector<Segment> segments;
  std::optional<v1::AttemptStarted> started;
  bool finished = false;
  std::uint64_t next_seq = 1;
  // The youngest whole draft.
  std::optional<v1::Record> draft_chunk;  // only where it continues the log
  std::optional<v1::RunResult> draft_result;
  // What was found wrong, one sentence each.
  std::vector<std::string> damage;
};

// Reads an attempt's directory. Damage is no error: what is whole is kept. Records of another attempt, or whose seq
// does not rise, count as damage.
[[nodiscard]] absl::StatusOr<AttemptFiles> ReadAttemptFiles(SpoolDisk* disk, const std::filesystem::path& directory,
                                                            const AttemptKey& key);

// The serialised frames of a draft.
[[nodiscard]] std::string EncodeDraft(const AttemptKey& key, std::uint64_t next_seq, const v1::Chunk* growing,
                                      const v1::RunResult& result_so_far);

}  // namespace ballast::agent
