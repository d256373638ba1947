#include "coordinator/rpc/wanted_jobs.h"

#include <chrono>
#include <utility>

#include "common/base/logging.h"

namespace ballast::coordinator {
namespace {

constexpr std::chrono::seconds kPatience(60);

// What it is for, for people.
std::string NameOf(const core::JobOrigin& origin) {
  return origin.schedule_id.empty() ? "the self-test of device " + origin.health_check_device_id
                                    : "the job of schedule " + origin.schedule_id;
}

}  // namespace

void WantedJobs::Add(core::WantJob want) {
  const std::lock_guard lock(mutex_);
  if (!request_ids_.insert(want.request_id).second) return;
  queue_.push_back(std::move(want));
  wake_.notify_all();
}

void WantedJobs::Start(Actor* actor, JobIntake* intake) {
  thread_ = std::jthread([this, actor, intake](const std::stop_token& stop) { Run(stop, actor, intake); });
}

void WantedJobs::Stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void WantedJobs::Run(const std::stop_token& stop, Actor* actor, JobIntake* intake) {
  while (true) {
    core::WantJob want;
    {
      std::unique_lock lock(mutex_);
      if (!wake_.wait(lock, stop, [this] { return !queue_.empty(); }) || stop.stop_requested()) return;
      want = std::move(queue_.front());
      queue_.pop_front();
    }
    const auto deadline = std::chrono::system_clock::now() + kPatience;
    const absl::StatusOr<v1::Job> job = intake->SubmitWanted(want, deadline);
    if (job.ok()) {
      base::Log().info("submitted {}: {}", NameOf(want.origin), job->job_id());
    } else {
      base::Log().warn("{} cannot be submitted: {}", NameOf(want.origin), std::string(job.status().message()));
      if (!absl::IsUnavailable(job.status()) && !absl::IsDeadlineExceeded(job.status())) {
        (void)actor->Call<bool>(
            deadline,
            [origin = want.origin, reason = std::string(job.status().message())](
                core::Core& core, const core::Instant& now, core::Actions* actions) -> absl::StatusOr<bool> {
              core.WantedJobFailed(now, origin, reason, actions);
              return true;
            });
      }
    }
    const std::lock_guard lock(mutex_);
    request_ids_.erase(want.request_id);
  }
}

}  // namespace ballast::coordinator
