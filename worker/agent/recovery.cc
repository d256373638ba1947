#include "worker/agent/recovery.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <deque>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "absl/strings/numbers.h"
#include "ballast/v1/record.pb.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/units.h"
#include "common/metrics/chunk_codec.h"
#include "worker/agent/boot_id.h"
#include "worker/agent/sample_history.h"
#include "worker/agent/spool_reader.h"

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
      base::Log().warn("recovery of {}: a chunk is unreadable: {}", ToText(key),
                       std::string(decoded.status().message()));
      continue;
    }
    for (std::size_t i = 0; i < decoded->rows.size(); ++i) words.history.Add(decoded->offsets[i], decoded->rows[i]);
  }
  return words;
}

std::string ToText(base::SystemTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(static_cast<std::time_t>(seconds.time_since_epoch().count())));
}

// What was found on the device, one sentence each.
std::vector<std::string> Findings(const v1::AttemptStarted& started, const v1::RunResult& result, const BootFacts& boot,
                                  bool rebooted, std::chrono::nanoseconds last_offset) {
  const base::SystemTime last_time = base::FromProto(started.start_time()) + last_offset;
  std::vector<std::string> findings;
  if (started.boot_id().empty() || boot.boot_id.empty()) {
    findings.emplace_back("boot identifier: not known, so a reboot could not be seen");
  } else if (rebooted) {
    findings.push_back(fmt::format("boot identifier: {} when the run began, {} now", started.boot_id(), boot.boot_id));
  } else {
    findings.push_back(fmt::format("boot identifier: {} as when the run began", boot.boot_id));
  }
  findings.push_back(fmt::format("spool: the last sample is from {} after the start, {} by the device's clock",
                                 base::FormatDuration(last_offset), ToText(last_time)));
  findings.push_back(
      fmt::format("spool: the runner held {} then", base::FormatBytes(result.outcome().evidence().held_bytes())));
  if (!rebooted) return findings;
  if (!boot.boot_time) {
    findings.emplace_back("uptime: not readable, so nobody can tell when the device came back");
  } else if (*boot.boot_time < last_time) {
    // Boards without a clock of their own begin in the past until the network tells them the time.
    findings.push_back(fmt::format(
        "uptime: the device booted at {} by its clock, which is before the last sample: the clock was set back",
        ToText(*boot.boot_time)));
  } else {
    findings.push_back(fmt::format("uptime: the device booted at {} by its clock, {} after the last sample",
                                   ToText(*boot.boot_time), base::FormatDuration(*boot.boot_time - last_time)));
  }
  if (!boot.crash_records.empty()) {
    findings.push_back(
        fmt::format("/sys/fs/pstore: the kernel left records of a crash: {}", fmt::join(boot.crash_records, ", ")));
  }
  return findings;
}

v1::AttemptFinished Conclude(const CutOffAttempt& attempt, const BootFacts& boot, const LastWords& words) {
  v1::AttemptFinished finished;
  if (attempt.result_so_far) *finished.mutable_result() = *attempt.result_so_far;
  v1::RunResult* const result = finished.mutable_result();
  // Where the draft is older than the log, or is missing, the log knows better.
  result->set_sample_count(std::max(result->sample_count(), words.sample_count));
  *finished.mutable_end_time() = base::ToProto(base::FromProto(attempt.started.start_time()) + words.last_offset);

  v1::Outcome* const outcome = result->mutable_outcome();
  const bool rebooted =
      !attempt.started.boot_id().empty() && !boot.boot_id.empty() && attempt.started.boot_id() != boot.boot_id;
  outcome->set_kind(rebooted ? v1::DEVICE_REBOOTED : v1::WORKER_CRASHED);
  outcome->set_message(fmt::format("{}; its last sample is from {} after the start",
                                   rebooted ? "the device rebooted in mid-run" : "the worker ended in mid-run",
                                   base::FormatDuration(words.last_offset)));
  v1::Evidence* const evidence = outcome->mutable_evidence();
  evidence->set_killer(v1::UNKNOWN);
  evidence->set_start_boot_id(attempt.started.boot_id());
  evidence->set_end_boot_id(boot.boot_id);
  const std::int64_t held = words.history.LastOf(metrics::MetricId::kRunnerHeldBytes);
  if (held != metrics::kAbsent && held >= 0) evidence->set_held_bytes(static_cast<std::uint64_t>(held));
  evidence->set_global_oom_kill_count(words.history.RiseOf(metrics::MetricId::kVmOomKillTotal));
  evidence->set_cgroup_oom_kill_count(words.history.RiseOf(metrics::MetricId::kCgroupOomKillTotal));
  *evidence->mutable_last_samples() = words.history.ToSeries();
  for (std::string& finding : Findings(attempt.started, *result, boot, rebooted, words.last_offset))
    evidence->add_findings(std::move(finding));
  return finished;
}

}  // namespace

BootFacts ReadBootFacts(const std::string& root, const base::Clock& clock) {
  const std::filesystem::path base = root;
  BootFacts facts;
  facts.boot_id = ReadBootId(root);
  const std::string uptime = base::ReadFile(base / "proc/uptime").value_or("");
  double seconds = 0;
  if (absl::SimpleAtod(uptime.substr(0, uptime.find(' ')), &seconds) && seconds > 0) {
    facts.boot_time =
        clock.Now() - std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(base / "sys/fs/pstore", error))
    facts.crash_records.push_back(entry.path().filename().string());
  std::ranges::sort(facts.crash_records);
  return facts;
}

void EndCutOffAttempts(const std::vector<CutOffAttempt>& cut_off, const BootFacts& boot, Spool* spool) {
  if (cut_off.empty()) return;
  // What came out of drafts is readable only once it is in the log.
  if (const absl::Status status = spool->Flush(kFlushTimeout); !status.ok())
    base::Log().warn("recovery: {}", std::string(status.message()));
  for (const CutOffAttempt& attempt : cut_off) {
    const v1::AttemptFinished finished = Conclude(attempt, boot, ReadLastWords(attempt.key, spool));
    base::Log().warn("run {}: {}: {}", ToText(attempt.key), v1::OutcomeKind_Name(finished.result().outcome().kind()),
                     finished.result().outcome().message());
    if (const absl::Status status = spool->Finish(attempt.key, finished); !status.ok()) {
      base::Log().error("recovery of {}: {}", ToText(attempt.key), std::string(status.message()));
    }
  }
}

}  // namespace ballast::agent
