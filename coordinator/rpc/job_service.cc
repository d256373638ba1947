#include "coordinator/rpc/job_service.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "coordinator/rpc/answer.h"
#include "coordinator/rpc/watch_stream.h"

namespace ballast::coordinator {
namespace {

// A watcher that hears why there is nothing to see.
class RefusedWatch final : public grpc::ServerWriteReactor<v1::JobUpdate> {
 public:
  explicit RefusedWatch(grpc::Status refused) { Finish(std::move(refused)); }
  void OnDone() override { delete this; }
};

}  // namespace

void JobService::AddWaitReasons(std::chrono::system_clock::time_point deadline, const std::vector<v1::Job*>& jobs) {
  std::vector<v1::Job> open;
  for (const v1::Job* job : jobs) {
    if (job->state() == v1::Job::QUEUED || job->state() == v1::Job::RUNNING)
      open.emplace_back().set_job_id(job->job_id());
  }
  if (open.empty()) return;
  absl::StatusOr<std::vector<v1::Job>> filled = actor_->Call<std::vector<v1::Job>>(
      deadline,
      [open = std::move(open)](core::Core& core, const core::Instant& now,
                               core::Actions*) -> absl::StatusOr<std::vector<v1::Job>> {
        std::vector<v1::Job> answered = open;
        for (v1::Job& job : answered) core.FillWaitReasons(now, &job);
        return answered;
      });
  // While nothing can be stored there is no core, and nobody knows: the jobs are what was asked for.
  if (!filled.ok()) return;
  for (v1::Job& from : *filled) {
    const auto to = std::ranges::find(jobs, from.job_id(), &v1::Job::job_id);
    (*to)->mutable_wait_reasons()->Swap(from.mutable_wait_reasons());
  }
}

grpc::Status JobService::SubmitJob(grpc::ServerContext* context, const v1::SubmitJobRequest* request, v1::Job* reply) {
  if (grpc::Status refused = admission_->Admit(context, "SubmitJob"); !refused.ok()) return refused;
  v1::SubmitJobRequest named = *request;
  // Who a certificate says it is counts, not who somebody says he is.
  if (const Caller caller = CallerOf(*context); caller.authenticated) named.set_submitter(caller.name);
  absl::StatusOr<v1::Job> job = intake_->Submit(named, context->deadline());
  if (job.ok()) AddWaitReasons(context->deadline(), {&*job});
  grpc::Status answer = Answer(std::move(job), reply);
  return audit_->Done(*context,
                      {.action = "SubmitJob",
                       .subject = answer.ok() ? reply->job_id() : request->spec().display_name(),
                       .claimed_name = request->submitter()},
                      std::move(answer));
}

grpc::Status JobService::GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request, v1::Job* reply) {
  if (grpc::Status refused = admission_->Admit(context, "GetJob"); !refused.ok()) return refused;
  absl::StatusOr<v1::Job> job = store_->GetJob(request->job_id());
  if (job.ok()) AddWaitReasons(context->deadline(), {&*job});
  return Answer(std::move(job), reply);
}

grpc::Status JobService::ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                                  v1::ListJobsResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "ListJobs"); !refused.ok()) return refused;
  absl::StatusOr<v1::ListJobsResponse> jobs = store_->ListJobs(*request);
  if (jobs.ok())
    AddWaitReasons(context->deadline(), {jobs->mutable_jobs()->pointer_begin(), jobs->mutable_jobs()->pointer_end()});
  return Answer(std::move(jobs), reply);
}

grpc::Status JobService::CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request, v1::Job* reply) {
  if (grpc::Status refused = admission_->Admit(context, "CancelJob"); !refused.ok()) return refused;
  if (const absl::Status allowed = CheckMayCancel(CallerOf(*context), request->job_id()); !allowed.ok()) {
    return audit_->Done(*context, {.action = "CancelJob", .subject = request->job_id()}, rpc::ToGrpc(allowed));
  }
  absl::StatusOr<v1::Job> job = actor_->Call<v1::Job>(
      context->deadline(),
      [job_id = request->job_id()](core::Core& core, const core::Instant& now, core::Actions* actions) {
        return core.CancelJob(now, job_id, actions);
      });
  // A job that the core does not hold has ended, and stays as it is; or there is none.
  if (job.status().code() == absl::StatusCode::kNotFound) job = store_->GetJob(request->job_id());
  return audit_->Done(*context, {.action = "CancelJob", .subject = request->job_id()}, Answer(std::move(job), reply));
}

absl::Status JobService::CheckMayCancel(const Caller& caller, const std::string& job_id) {
  if (!caller.authenticated || caller.role == v1::ADMIN) return absl::OkStatus();
  // Who submitted a job never changes, and a job that was answered for is in the store.
  BALLAST_ASSIGN_OR_RETURN(const v1::Job job, store_->GetJob(job_id));
  if (job.submitter() == caller.name) return absl::OkStatus();
  return absl::PermissionDeniedError(fmt::format("job {} is {}'s; it is cancelled by {} or an administrator", job_id,
                                                 job.submitter().empty() ? "somebody else" : job.submitter(),
                                                 job.submitter().empty() ? "its submitter" : job.submitter()));
}

grpc::ServerWriteReactor<v1::JobUpdate>* JobService::WatchJob(grpc::CallbackServerContext* context,
                                                              const v1::WatchJobRequest* request) {
  if (grpc::Status refused = admission_->Admit(context, "WatchJob"); !refused.ok()) {
    return new RefusedWatch(std::move(refused));
  }
  return WatchStream::Start(actor_, store_, gate_, request->job_id(), access_, context);
}

}  // namespace ballast::coordinator
