#include "coordinator/retention/retention.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "coordinator/retention/thinning.h"

namespace ballast::retention {
namespace {

constexpr std::size_t kListed = 64;
// The shortest pause after a step, however quick that was.
constexpr std::chrono::milliseconds kMinPause{1};
// What one step gives back, and what may lie free: it is used for what comes next, and moving pages to the end and back
// wears the disk for nothing.
constexpr std::uint64_t kReleaseStepBytes = 1U << 20U;
constexpr std::uint64_t kMinFreeBytes = 16U << 20U;
constexpr std::uint64_t kFreeShare = 10;  // a tenth of the file

absl::Status Stopped() {
  return absl::CancelledError("retention was stopped");
}

bool HasEnded(const v1::Job& job) {
  return job.state() == v1::Job::FINISHED || job.state() == v1::Job::CANCELLED;
}

storage::CreationKey KeyOf(const v1::Run& run) {
  return {base::FromProto(run.create_time()), run.run_id()};
}
storage::CreationKey KeyOf(const v1::Job& job) {
  return {base::FromProto(job.create_time()), job.job_id()};
}

}  // namespace

Retention::Retention(storage::Store* store, const base::Clock* clock, v1::RetentionConfig config, Removal removal)
    : store_(store), clock_(clock), config_(std::move(config)), removal_(std::move(removal)) {}

void Retention::Start() {
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

void Retention::Stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Retention::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const absl::StatusOr<PassCount> count = Pass(stop);
    if (!count.ok()) {
      if (stop.stop_requested()) return;
      base::Log().warn("retention: {}; trying again later", std::string(count.status().message()));
    } else if (count->thinned_runs + count->removed_runs + count->removed_jobs + count->released_bytes > 0) {
      base::Log().info("retention: {} runs thinned, {} jobs with {} runs removed, {} bytes given back",
                       count->thinned_runs, count->removed_jobs, count->removed_runs, count->released_bytes);
    }
    Pause(base::FromProto(config_.interval()), stop);
  }
}

void Retention::Pause(std::chrono::nanoseconds duration, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  (void)paused_.wait_for(lock, stop, duration, [] { return false; });
}

absl::Status Retention::MakeStep(storage::WriteBatch batch, const std::stop_token& stop) {
  if (stop.stop_requested()) return Stopped();
  const std::chrono::nanoseconds begin = clock_->Monotonic();
  BALLAST_RETURN_IF_ERROR(store_->WriteAndWait(std::move(batch)));
  Pause(std::max<std::chrono::nanoseconds>(clock_->Monotonic() - begin, kMinPause), stop);
  return absl::OkStatus();
}

absl::StatusOr<PassCount> Retention::Pass(const std::stop_token& stop) {
  PassCount count;
  const base::SystemTime now = clock_->Now();
  if (config_.has_samples()) BALLAST_RETURN_IF_ERROR(ThinSamples(now, stop, &count));
  if (config_.has_jobs()) BALLAST_RETURN_IF_ERROR(RemoveJobs(now, stop, &count));
  if (config_.has_audit() && removal_.audit) {
    BALLAST_RETURN_IF_ERROR(removal_.audit(now - base::FromProto(config_.audit())));
  }
  BALLAST_RETURN_IF_ERROR(ReleaseSpace(stop, &count));
  return count;
}

absl::Status Retention::ThinSamples(base::SystemTime now, const std::stop_token& stop, PassCount* count) {
  const base::SystemTime before = now - base::FromProto(config_.samples());
  const Step step = [&](storage::WriteBatch batch) { return MakeStep(std::move(batch), stop); };
  storage::CreationKey after;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const std::vector<v1::Run> runs, store_->RunsToThin(after, before, kListed));
    if (runs.empty()) return absl::OkStatus();
    for (const v1::Run& run : runs) {
      after = KeyOf(run);
      if (run.state() != v1::Run::ENDED || base::FromProto(run.end_time()) >= before) continue;
      BALLAST_ASSIGN_OR_RETURN(const bool may_bring_records, MayBringRecords(*store_, run));
      if (may_bring_records) continue;
      BALLAST_RETURN_IF_ERROR(ThinRun(*store_, run, base::FromProto(config_.summary_interval()), now, step));
      ++count->thinned_runs;
    }
  }
}

absl::Status Retention::RemoveJobs(base::SystemTime now, const std::stop_token& stop, PassCount* count) {
  const base::SystemTime before = now - base::FromProto(config_.jobs());
  BALLAST_ASSIGN_OR_RETURN(const std::string newest, store_->GreatestJobId());
  storage::CreationKey after;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, store_->JobsCreatedBefore(after, before, kListed));
    if (jobs.empty()) return absl::OkStatus();
    for (const v1::Job& job : jobs) {
      after = KeyOf(job);
      if (job.job_id() == newest || !HasEnded(job) || base::FromProto(job.end_time()) >= before) continue;
      BALLAST_ASSIGN_OR_RETURN(const bool removed, RemoveJob(job, now, stop, count));
      if (removed) ++count->removed_jobs;
    }
  }
}

absl::StatusOr<bool> Retention::RemoveJob(const v1::Job& job, base::SystemTime now, const std::stop_token& stop,
                                          PassCount* count) {
  BALLAST_ASSIGN_OR_RETURN(const std::vector<v1::Run> runs, store_->RunsOfJob(job.job_id()));
  for (const v1::Run& run : runs) {
    BALLAST_ASSIGN_OR_RETURN(const bool may_bring_records, MayBringRecords(*store_, run));
    if (may_bring_records) return false;
  }
  const Step step = [&](storage::WriteBatch batch) { return MakeStep(std::move(batch), stop); };
  // The last run first: what is left of a job whose removal was broken off is its beginning.
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    BALLAST_RETURN_IF_ERROR(DeleteSamples(*store_, *run, now, step));
    if (stop.stop_requested()) return Stopped();
    const absl::Status removed = removal_.run(job.job_id(), run->run_id());
    if (absl::IsUnavailable(removed)) return false;  // the next pass goes on
    BALLAST_RETURN_IF_ERROR(removed);
    ++count->removed_runs;
    Pause(kMinPause, stop);
  }
  BALLAST_RETURN_IF_ERROR(removal_.job(job.job_id()));
  return true;
}

absl::Status Retention::ReleaseSpace(const std::stop_token& stop, PassCount* count) {
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const storage::SpaceUse use, store_->GetSpaceUse());
    const std::uint64_t keep = std::max(kMinFreeBytes, use.total_bytes / kFreeShare);
    if (!use.can_release || use.free_bytes <= keep) return absl::OkStatus();
    const std::uint64_t step = std::min(kReleaseStepBytes, use.free_bytes - keep);
    BALLAST_RETURN_IF_ERROR(MakeStep({storage::ReleaseSpace{.max_bytes = step}}, stop));
    count->released_bytes += step;
  }
}

}  // namespace ballast::retention
