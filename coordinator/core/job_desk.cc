#include "coordinator/core/job_desk.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "coordinator/core/job_variants.h"
#include "coordinator/core/request_id.h"
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

absl::StatusOr<std::vector<std::string>> JobDesk::FindDevices(const Submission& submission) {
  // A self-test goes to a device in quarantine, and nothing else does.
  const std::string& checked = submission.origin.health_check_device_id;
  if (!checked.empty()) {
    if (state_->FindDevice(checked) != nullptr) return std::vector<std::string>{checked};
    return absl::NotFoundError(fmt::format("no device '{}'", checked));
  }
  BALLAST_ASSIGN_OR_RETURN(std::vector<std::string> device_ids, SelectDevices(state_, submission.spec));
  const std::uint32_t count = submission.spec.devices().count();
  return count == 0 ? device_ids : std::vector<std::string>(count);
}

absl::StatusOr<v1::Job> JobDesk::Submit(Turn& turn, Submission submission) {
  if (!submission.request_id.empty()) {
    if (const v1::Job* known = state_->FindRequest(submission.request_id)) {
      // What the coordinator itself wants has identifiers that nobody else can choose.
      if (submission.origin.wanted()) return *known;
      return JobOfRequest(*known, submission.submitter);
    }
  }
  if (state_->FindJob(submission.job_id) != nullptr || state_->FindClosedJob(submission.job_id) != nullptr) {
    return absl::InternalError(fmt::format("job identifier {} was given twice", submission.job_id));
  }
  BALLAST_RETURN_IF_ERROR(CheckAnnotations(submission.spec));
  BALLAST_RETURN_IF_ERROR(CheckMatrix(submission.spec));
  BALLAST_ASSIGN_OR_RETURN(const std::vector<std::string> device_ids, FindDevices(submission));
  const std::uint32_t repetitions = std::max(submission.spec.repetitions(), 1U);
  const std::size_t variants = VariantsOf(submission.spec).size();
  const std::uint64_t run_count = std::uint64_t{device_ids.size()} * repetitions * variants;
  if (run_count > kMaxRunsPerJob) {
    return absl::InvalidArgumentError(fmt::format(
        "{} repetitions{} on {} devices are {} runs; a job may have {}", repetitions,
        variants > 1 ? fmt::format(" of {} variants", variants) : "", device_ids.size(), run_count, kMaxRunsPerJob));
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
  job.set_schedule_id(submission.origin.schedule_id);
  job.set_health_check_device_id(submission.origin.health_check_device_id);
  JobEntry& entry = state_->AddJob(std::move(job));
  entry.waits_since = turn.steady();
  turn.Changed(&entry);
  BALLAST_RETURN_IF_ERROR(AddRuns(turn, &entry, device_ids));
  if (!entry.floats()) {
    for (const std::string& device_id : device_ids) scheduler_->Dispatch(turn, state_->FindDevice(device_id));
    return entry.job;
  }
  const Lane* lane = entry.lanes.begin()->second.get();
  const std::map<std::string, DeviceEntry*> members = lane->pool->members;
  for (const auto& [device_id, device] : members) {
    if (entry.lanes.empty()) break;
    scheduler_->Dispatch(turn, device);
  }
  return entry.job;
}

absl::Status JobDesk::AddRuns(Turn& turn, JobEntry* job, const std::vector<std::string>& device_ids) {
  // One variant once on every device before the next on any: what drifts with time meets all devices, and all variants,
  // alike.
  const v1::JobSpec& spec = job->job.spec();
  const std::string workload_kind = WorkloadKind(spec.workload());
  const std::vector<Variant> variants = VariantsOf(spec);
  for (std::uint32_t repetition = 1; repetition <= std::max(spec.repetitions(), 1U); ++repetition) {
    for (std::size_t place = 0; place < variants.size(); ++place) {
      const Variant& variant = VariantAt(variants, repetition, place);
      for (const std::string& device_id : device_ids) {
        v1::Run run;
        run.set_run_id(fmt::format("{}.{}", job->job.job_id(), job->runs.size() + 1));
        run.set_job_id(job->job.job_id());
        run.set_device_id(device_id);
        run.set_repetition(repetition);
        run.set_state(v1::Run::QUEUED);
        *run.mutable_create_time() = job->job.create_time();
        run.set_workload_kind(workload_kind);
        *run.mutable_annotations() = spec.annotations();
        run.set_matrix_environment(variant.environment);
        run.set_matrix_quant(variant.quant);
        RunEntry& entry = state_->AddRun(job, std::move(run));
        turn.Changed(&entry);
        BALLAST_RETURN_IF_ERROR(queue_->Add(&entry));
      }
    }
  }
  return absl::OkStatus();
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
