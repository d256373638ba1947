#include "worker/agent/recovery.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "ballast/v1/record.pb.h"
#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/units.h"
#include "common/metrics/chunk_codec.h"
#include "worker/agent/sample_history.h"

namespace ballast::agent {
namespace {

constexpr std::chrono::seconds kEvidenceSpan(10);
constexpr std::chrono::seconds kFlushTimeout(5);
constexpr std::size_t kChunksForEvidence = 16;  // more than ten seconds of any chunk interval that is used

// What an attempt's records say about its end.
struct LastWords {
  SampleHistory history{kEvidenceSpan, std::chrono::nanoseconds(0)};
  std::chrono::nanoseconds last_offset{0};
  std::uint64_t sample_count = 0;
};

LastWords ReadLastWords(const AttemptKey& key, Spool* spool) {
  LastWords words;
  std::deque<v1::Chunk> last_chunks;
  SpoolReader reader(spool, key);
  while (std::optional<v1::Record> record = reader.Next()) {
    if (!record->has_chunk()) continue;
    words.sample_count += record->chunk().header().sample_count();
    words.last_offset = std::max(words.last_offset, base::FromProto(record->chunk().header().end_offset()));
    last_chunks.push_back(std::move(*record->mutable_chunk()));
    if (last_chunks.size() > kChunksForEvidence) last_chunks.pop_front();
  }
  for (const v1::Chunk& chunk : last_chunks) {
    const absl::StatusOr<metrics::DecodedChunk> decoded = metrics::DecodeChunk(chunk);
    if (!decoded.ok()) {
      spdlog::warn("recovery of {}: a chunk is unreadable: {}", ToText(key), std::string(decoded.status().message()));
      continue;
    }
    for (std::size_t i = 0; i < decoded->rows.size(); ++i) words.history.Add(decoded->offsets[i], decoded->rows[i]);
  }
  return words;
}

v1::AttemptFinished Conclude(const CutOffAttempt& attempt, const std::string& boot_id, const LastWords& words) {
  v1::AttemptFinished finished;
  if (attempt.result_so_far) *finished.mutable_result() = *attempt.result_so_far;
  v1::RunResult* const result = finished.mutable_result();
  // Where the draft is older than the log, or is missing, the log knows better.
  result->set_sample_count(std::max(result->sample_count(), words.sample_count));
  *finished.mutable_end_time() = base::ToProto(base::FromProto(attempt.started.start_time()) + words.last_offset);

  v1::Outcome* const outcome = result->mutable_outcome();
  const bool rebooted = !attempt.started.boot_id().empty() && attempt.started.boot_id() != boot_id;
  outcome->set_kind(rebooted ? v1::DEVICE_REBOOTED : v1::WORKER_CRASHED);
  outcome->set_message(fmt::format("{}; its last sample is from {} after the start",
                                   rebooted ? "the device rebooted in mid-run" : "the worker ended in mid-run",
                                   base::FormatDuration(words.last_offset)));
  v1::Evidence* const evidence = outcome->mutable_evidence();
  evidence->set_killer(v1::UNKNOWN);
  evidence->set_start_boot_id(attempt.started.boot_id());
  evidence->set_end_boot_id(boot_id);
  const std::int64_t held = words.history.LastOf(metrics::MetricId::kRunnerHeldBytes);
  if (held != metrics::kAbsent && held >= 0) evidence->set_held_bytes(static_cast<std::uint64_t>(held));
  evidence->set_global_oom_kill_count(words.history.RiseOf(metrics::MetricId::kVmOomKillTotal));
  evidence->set_cgroup_oom_kill_count(words.history.RiseOf(metrics::MetricId::kCgroupOomKillTotal));
  *evidence->mutable_last_samples() = words.history.ToSeries();
  return finished;
}

}  // namespace

void EndCutOffAttempts(const std::vector<CutOffAttempt>& cut_off, const std::string& boot_id, Spool* spool) {
  if (cut_off.empty()) return;
  // What came out of drafts is readable only once it is in the log.
  if (const absl::Status status = spool->Flush(kFlushTimeout); !status.ok())
    spdlog::warn("recovery: {}", std::string(status.message()));
  for (const CutOffAttempt& attempt : cut_off) {
    const v1::AttemptFinished finished = Conclude(attempt, boot_id, ReadLastWords(attempt.key, spool));
    spdlog::warn("run {}: {}: {}", ToText(attempt.key), v1::OutcomeKind_Name(finished.result().outcome().kind()),
                 finished.result().outcome().message());
    if (const absl::Status status = spool->Finish(attempt.key, finished); !status.ok()) {
      spdlog::error("recovery of {}: {}", ToText(attempt.key), std::string(status.message()));
    }
  }
}

}  // namespace ballast::agent
