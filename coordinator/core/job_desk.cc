#include "coordinator/core/job_desk.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "coordinator/core/run_transitions.h"
#include "coordinator/core/selector.h"

namespace ballast::core {
namespace {

// One transaction stores a job with all its runs.
constexpr std::uint64_t kMaxRunsPerJob = 100'000;
// Annotations are kept, and found, with every run.
constexpr std::size_t kMaxAnnotations = 32;
constexpr std::size_t kMaxAnnotationKeyBytes = 128;
constexpr std::size_t kMaxAnnotationValueBytes = 256;

absl::Status CheckAnnotations(const v1::JobSpec& spec) {
  if (spec.annotations().size() > kMaxAnnotations) {
    return absl::InvalidArgumentError(
        fmt::format("annotations: {} entries; a job may have {}", spec.annotations().size(), kMaxAnnotations));
  }
  for (const auto& [key, value] : spec.annotations()) {
    if (key.empty() || key.size() > kMaxAnnotationKeyBytes) {
      return absl::InvalidArgumentError(fmt::format("annotations: the key {} has {} bytes; a key has 1 to {}",
                                                    base::Quoted(key), key.size(), kMaxAnnotationKeyBytes));
    }
    if (value.size() > kMaxAnnotationValueBytes) {
      return absl::InvalidArgumentError(
          fmt::format("annotations: the value of {} has {} bytes; at most {} are accepted", base::Quoted(key),
                      value.size(), kMaxAnnotationValueBytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::Job> JobDesk::Submit(Turn& turn, Submission submission) {
  if (!submission.request_id.empty()) {
    if (const v1::Job* known = state_->FindRequest(submission.request_id)) return *known;
  }
  if (state_->FindJob(submission.job_id) != nullptr || state_->FindClosedJob(submission.job_id) != nullptr) {
    return absl::InternalError(fmt::format("job identifier {} was given twice", submission.job_id));
  }
  BALLAST_RETURN_IF_ERROR(CheckAnnotations(submission.spec));
  BALLAST_ASSIGN_OR_RETURN(const std::vector<std::string> device_ids, SelectDevices(state_, submission.spec));
  const std::uint32_t repetitions = std::max(submission.spec.repetitions(), 1U);
  const std::uint64_t run_count = std::uint64_t{device_ids.size()} * repetitions;
  if (run_count > kMaxRunsPerJob) {
    return absl::InvalidArgumentError(fmt::format("{} repetitions on {} devices are {} runs; a job may have {}",
                                                  repetitions, device_ids.size(), run_count, kMaxRunsPerJob));
  }

  v1::Job job;
  job.set_job_id(submission.job_id);
  job.mutable_spec()->Swap(&submission.spec);
  job.set_state(v1::Job::QUEUED);
  *job.mutable_create_time() = base::ToProto(turn.wall());
  job.set_submitter(std::move(submission.submitter));
  job.mutable_models()->Swap(&submission.models);
  job.set_run_count(static_cast<std::uint32_t>(run_count));
  job.set_request_id(std::move(submission.request_id));
  JobEntry& entry = state_->AddJob(std::move(job));
  turn.Changed(&entry);

  // One repetition on every device before the next on any: what drifts with time meets all devices alike.
  const std::string workload_kind = WorkloadKind(entry.job.spec().workload());
  for (std::uint32_t repetition = 1; repetition <= repetitions; ++repetition) {
    for (const std::string& device_id : device_ids) {
      v1::Run run;
      run.set_run_id(fmt::format("{}.{}", entry.job.job_id(), entry.runs.size() + 1));
      run.set_job_id(entry.job.job_id());
      run.set_device_id(device_id);
      run.set_repetition(repetition);
      run.set_state(v1::Run::QUEUED);
      *run.mutable_create_time() = entry.job.create_time();
      run.set_workload_kind(workload_kind);
      *run.mutable_annotations() = entry.job.spec().annotations();
      RunEntry& run_entry = state_->AddRun(&entry, std::move(run));
      turn.Changed(&run_entry);
      scheduler_->Enqueue(&run_entry);
    }
  }
  for (const std::string& device_id : device_ids) scheduler_->Dispatch(turn, state_->FindDevice(device_id));
  return entry.job;
}

absl::StatusOr<v1::Job> JobDesk::Cancel(Turn& turn, const std::string& job_id) {
  JobEntry* entry = state_->FindJob(job_id);
  if (entry == nullptr) {
    if (const v1::Job* closed = state_->FindClosedJob(job_id)) return *closed;
    return absl::NotFoundError(fmt::format("no open job '{}'", job_id));
  }
  if (entry->job.cancel_requested()) return entry->job;
  entry->job.set_cancel_requested(true);
  turn.Changed(entry);
  for (const std::unique_ptr<RunEntry>& run : entry->runs) scheduler_->Cancel(turn, run.get());
  return entry->job;
}

std::optional<std::vector<v1::JobUpdate>> JobDesk::Watch(const std::string& job_id) {
  JobEntry* entry = state_->FindJob(job_id);
  if (entry == nullptr) return std::nullopt;
  ++entry->watchers;
  std::vector<v1::JobUpdate> snapshot(entry->runs.size() + 1);
  *snapshot[0].mutable_job() = entry->job;
  for (std::size_t i = 0; i < entry->runs.size(); ++i) {
    *snapshot[i + 1].mutable_run() = entry->runs[i]->run;
    Slim(snapshot[i + 1].mutable_run());
  }
  return snapshot;
}

void JobDesk::Unwatch(const std::string& job_id) {
  JobEntry* entry = state_->FindJob(job_id);
  if (entry != nullptr && entry->watchers > 0) --entry->watchers;
}

}  // namespace ballast::core
