#include "worker/agent/run_record.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/jobs/workload_parts.h"

namespace ballast::agent {
namespace {

using metrics::MetricId;
using std::chrono::nanoseconds;

constexpr std::chrono::seconds kEvidenceSpan(10);
// A draft is written each second: one with a hundred thousand steps would be most of the disk's work.
constexpr int kMaxDraftEntries = 2000;
constexpr std::int64_t kMaxRehearsedSamples = 100;

timespec ToTimespec(nanoseconds time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  timespec result{};
  result.tv_sec = seconds.count();
  result.tv_nsec = (time - seconds).count();
  return result;
}

std::optional<std::uint64_t> ToOptional(std::int64_t value) {
  if (value == metrics::kAbsent || value < 0) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

bool HoldsShmem(const v1::Workload& workload) {
  const v1::PressureWorkload* const pressure = jobs::PressureOf(workload);
  return pressure != nullptr && pressure->memory_kind() == v1::SHARED;
}

// Which the kernel calls available, unless it is locked.
bool HoldsFileCache(const v1::Workload& workload) {
  const v1::PressureWorkload* const pressure = jobs::PressureOf(workload);
  return pressure != nullptr && pressure->memory_kind() == v1::FILE_CACHE && !pressure->lock();
}

// The kernel does not count shared memory that is swapped out with the process (VmSwap is anonymous memory), although
// nobody else has it: what is held and not resident is swapped out.
void CountSwappedShmem(bool holds_shmem, metrics::SampleRow* row) {
  std::int64_t& swap = (*row)[metrics::IndexOf(MetricId::kRunnerSwapBytes)];
  const std::int64_t resident = (*row)[metrics::IndexOf(MetricId::kRunnerShmemBytes)];
  if (!holds_shmem || swap == metrics::kAbsent || resident == metrics::kAbsent) return;
  std::int64_t swapped = std::max<std::int64_t>((*row)[metrics::IndexOf(MetricId::kRunnerHeldBytes)] - resident, 0);
  // What the runner is giving back, and has not told yet, is not in swap.
  const std::int64_t total = (*row)[metrics::IndexOf(MetricId::kSwapTotalBytes)];
  const std::int64_t free = (*row)[metrics::IndexOf(MetricId::kSwapFreeBytes)];
  if (total != metrics::kAbsent && free != metrics::kAbsent) swapped = std::min(swapped, total - free);
  swap += swapped;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RunRecord>> RunRecord::Open(const RunExecutorOptions& options, AttemptKey key,
                                                           const v1::JobSpec& spec, const os::CgroupLocation& place,
                                                           Spool* spool) {
  std::unique_ptr<RunRecord> record(new RunRecord(options, std::move(key), spec, spool));
  BALLAST_ASSIGN_OR_RETURN(record->sampler_, telemetry::Sampler::Open(options.root, place));
  BALLAST_ASSIGN_OR_RETURN(record->gauge_, os::MemoryGauge::Open(options.root, place));
  record->timer_.Reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!record->timer_.valid()) return base::ErrnoStatus(errno, "timerfd_create");
  return record;
}

RunRecord::RunRecord(const RunExecutorOptions& options, AttemptKey key, const v1::JobSpec& spec, Spool* spool)
    : options_(options),
      key_(std::move(key)),
      spool_(spool),
      sample_interval_(
          std::max(base::FromProto(spec.telemetry().sample_interval()), nanoseconds(std::chrono::milliseconds(1)))),
      start_(options.clock->Monotonic()),
      holds_shmem_(HoldsShmem(spec.workload())),
      holds_file_cache_(HoldsFileCache(spec.workload())),
      stall_watch_(options.root),
      history_(kEvidenceSpan, sample_interval_),
      row_(metrics::EmptyRow()),
      conditions_(options.root),
      validity_(spec) {
  validity_.SetDevice(conditions_.oom_daemons(), conditions_.governor());
}

void RunRecord::SetFillers(DraftFiller draft, ProgressFiller progress) {
  fill_draft_ = std::move(draft);
  fill_progress_ = std::move(progress);
}

void RunRecord::WatchPressure(pid_t runner) {
  pressure_pid_ = runner;
  pressure_speaks_ = runner > 0;
  if (runner > 0) {
    sampler_->WatchProcess(runner);
  } else {
    sampler_->ForgetProcess();
  }
}

void RunRecord::Rehearse() {
  // A chunk as large as one becomes between two closings: its code, its buffers and the compressor's are there from now
  // on.
  const auto samples = std::min<std::int64_t>(options_.chunk_interval / sample_interval_ + 1, kMaxRehearsedSamples);
  for (std::int64_t i = 0; i < samples && !draft_chunk_.full(); ++i) draft_chunk_.AddSample(i * sample_interval_, row_);
  (void)draft_chunk_.Finish();
}

absl::Status RunRecord::StartTimer() {
  slot_ = static_cast<std::uint64_t>(Elapsed() / sample_interval_);
  itimerspec spec{};
  spec.it_value = ToTimespec(start_ + static_cast<std::int64_t>(slot_ + 1) * sample_interval_);
  spec.it_interval = ToTimespec(sample_interval_);
  if (::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) != 0)
    return base::ErrnoStatus(errno, "timerfd_settime");
  return absl::OkStatus();
}

bool RunRecord::TakeDueSamples() {
  std::uint64_t expirations = 0;
  if (::read(timer_.get(), &expirations, sizeof expirations) != static_cast<ssize_t>(sizeof expirations) ||
      expirations == 0) {
    return false;
  }
  slot_ += expirations;
  missed_samples_ += expirations - 1;
  TakeSample(static_cast<std::int64_t>(slot_) * sample_interval_);
  return true;
}

void RunRecord::TakeSample(nanoseconds planned_offset) {
  const nanoseconds offset = Elapsed();
  if (holds_file_cache_) sampler_->CountFilePages(pressure_speaks_ ? findings_.held_bytes() : 0);
  sampler_->Sample(&row_);
  row_[metrics::IndexOf(MetricId::kSampleDelayUs)] =
      std::chrono::duration_cast<std::chrono::microseconds>(std::max(offset - planned_offset, nanoseconds(0))).count();
  if (pressure_speaks_) {
    static const std::int64_t percent_scale =
        metrics::FindMetric(static_cast<std::uint32_t>(MetricId::kRunnerTargetPercent))->scale;
    row_[metrics::IndexOf(MetricId::kRunnerHeldBytes)] = static_cast<std::int64_t>(findings_.held_bytes());
    CountSwappedShmem(holds_shmem_, &row_);
    if (findings_.target_percent() > 0) {
      row_[metrics::IndexOf(MetricId::kRunnerTargetPercent)] =
          std::llround(findings_.target_percent() * static_cast<double>(percent_scale));
    }
  }
  history_.Add(offset, row_);
  findings_.AddSample(offset, row_, stall_watch_.Read(findings_.target_psi(), pressure_pid_));
  validity_.AddSample(row_);
  if (chunk_.full()) CloseChunk();
  chunk_.AddSample(offset, row_);
}

void RunRecord::AddReport(const v1::RunnerReport& report) {
  findings_.AddReport(report);
  if (report.has_event()) AddEvent(report.event());
}

void RunRecord::AddEvent(const v1::Event& event) {
  if (chunk_.full()) CloseChunk();
  chunk_.AddEvent(event);
  chunk_events_.push_back(event);
}

void RunRecord::BeginPhase(v1::Phase phase) {
  if (!phase.has_start_offset()) *phase.mutable_start_offset() = base::ToProto(Elapsed());
  v1::Event started;
  *started.mutable_offset() = phase.start_offset();
  started.set_kind(v1::Event::PHASE_STARTED);
  started.set_message(v1::Phase::Kind_Name(phase.kind()));
  v1::RunnerReport report;
  *report.mutable_phase() = std::move(phase);
  findings_.AddReport(report);
  AddEvent(started);
}

void RunRecord::EndLoadPhase() {
  findings_.EndLoadPhase(Elapsed());
}

void RunRecord::CloseChunk() {
  chunk_start_ = Elapsed();
  if (chunk_.empty()) return;
  const std::size_t samples = chunk_.sample_count();
  chunk_events_.clear();
  const absl::Status status = spool_->AppendChunk(key_, chunk_.Finish());
  if (status.ok()) return;
  // The run goes on: its end is still worth knowing.
  lost_samples_ += samples;
  if (loss_reason_.empty()) {
    loss_reason_ = std::string(status.message());
    base::Log().error("run {}: samples are lost: {}", ToText(key_), loss_reason_);
  }
}

void RunRecord::SaveDraft() {
  next_draft_ = Elapsed() + options_.draft_interval;
  for (std::size_t i = 0; i < history_.size(); ++i) {
    const SampleHistory::Entry& entry = history_[i];
    if (entry.offset >= chunk_start_ && !draft_chunk_.full()) draft_chunk_.AddSample(entry.offset, entry.row);
  }
  for (const v1::Event& event : chunk_events_) {
    if (!draft_chunk_.full()) draft_chunk_.AddEvent(event);
  }
  v1::RunResult so_far;
  findings_.Fill(&so_far);
  if (fill_draft_) fill_draft_(&so_far);
  so_far.set_missed_sample_count(missed_samples_);
  if (so_far.phases_size() + so_far.steps_size() > kMaxDraftEntries) {
    so_far.clear_phases();
    so_far.clear_steps();
  }
  so_far.set_limit_source(gauge_->limit_source());
  so_far.set_limit_bytes(ToOptional(history_.LastOf(MetricId::kMemLimitBytes)).value_or(0));
  so_far.mutable_outcome()->mutable_evidence()->set_held_bytes(findings_.held_bytes());
  if (validity_.begun()) {
    validity_.AddConditions(conditions_.Read());
    *so_far.mutable_validity() = validity_.Judge(so_far);
  }
  if (draft_chunk_.empty()) {
    spool_->SaveDraft(key_, nullptr, so_far);
    return;
  }
  const v1::Chunk growing = draft_chunk_.Finish();
  spool_->SaveDraft(key_, &growing, so_far);
}

nanoseconds RunRecord::deadline() const {
  return std::min({chunk_start_ + options_.chunk_interval, next_draft_, next_progress_});
}

void RunRecord::FollowDeadlines(RunObserver* observer) {
  const nanoseconds now = Elapsed();
  if (now >= chunk_start_ + options_.chunk_interval) CloseChunk();
  if (now >= next_draft_) SaveDraft();
  if (now >= next_progress_) TellProgress(observer);
}

void RunRecord::TellProgress(RunObserver* observer) {
  next_progress_ = Elapsed() + options_.progress_interval;
  v1::RunProgress progress;
  progress.set_run_id(key_.run_id);
  progress.set_attempt(key_.attempt);
  progress.set_phase(findings_.current_phase());
  *progress.mutable_elapsed() = base::ToProto(Elapsed());
  if (findings_.planned()) *progress.mutable_planned() = base::ToProto(*findings_.planned());
  progress.set_held_bytes(findings_.held_bytes());
  progress.set_target_percent(findings_.target_percent());
  const auto in_unit = [this](MetricId id) {
    const metrics::Metric* const metric = metrics::FindMetric(static_cast<std::uint32_t>(id));
    return static_cast<double>(row_[metrics::IndexOf(id)]) / static_cast<double>(metric->scale);
  };
  const auto present = [this](MetricId id) { return row_[metrics::IndexOf(id)] != metrics::kAbsent; };
  if (present(MetricId::kMemUsedPercent)) progress.set_used_percent(in_unit(MetricId::kMemUsedPercent));
  progress.set_available_bytes(ToOptional(row_[metrics::IndexOf(MetricId::kMemLimitAvailableBytes)]).value_or(0));
  if (present(MetricId::kPsiMemorySomeAvg10)) progress.set_psi_some_avg10(in_unit(MetricId::kPsiMemorySomeAvg10));
  progress.set_load_resident_bytes(ToOptional(row_[metrics::IndexOf(MetricId::kLoadResidentBytes)]).value_or(0));
  if (fill_progress_) fill_progress_(&progress);
  observer->OnProgress(progress);
}

void RunRecord::Finish(bool judged, v1::RunResult* result) {
  CloseChunk();
  findings_.Fill(result);
  result->set_missed_sample_count(missed_samples_);
  result->set_limit_bytes(ToOptional(history_.LastOf(MetricId::kMemLimitBytes)).value_or(0));
  result->set_limit_source(gauge_->limit_source());
  if (lost_samples_ > 0) {
    result->mutable_outcome()->set_message(
        fmt::format("{} ({} samples are lost: {})", result->outcome().message(), lost_samples_, loss_reason_));
  }
  // Where no load was carried out there is nothing that could be compared.
  if (!judged) return;
  validity_.AddConditions(conditions_.Read());
  *result->mutable_validity() = validity_.Judge(*result);
}

}  // namespace ballast::agent
