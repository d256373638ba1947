#include "coordinator/rpc/job_service.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/config/job_rules.h"
#include "common/environment/catalogue.h"
#include "common/rpc/channel.h"
#include "coordinator/models/job_models.h"
#include "coordinator/rpc/watch_stream.h"

namespace ballast::coordinator {
namespace {

// A specification is kept with its job and goes out with every assignment.
constexpr std::size_t kMaxSpecBytes = 64U << 10U;
constexpr std::size_t kMaxNameBytes = 128;
// How long a submission waits for the digest of a large file; after that the user is told how far it has come.
constexpr std::chrono::seconds kDigestPatience(20);

// The submitted specification with its defaults, checked.
absl::StatusOr<v1::JobSpec> Complete(v1::JobSpec spec) {
  if (spec.ByteSizeLong() > kMaxSpecBytes) {
    return absl::InvalidArgumentError(
        fmt::format("the job specification has {} bytes; at most {} are accepted", spec.ByteSizeLong(), kMaxSpecBytes));
  }
  config::ApplyDefaults(&spec);
  BALLAST_RETURN_IF_ERROR(config::Validate(spec));
  return spec;
}

absl::StatusOr<v1::Job> Submit(const v1::SubmitJobRequest& request, std::chrono::system_clock::time_point deadline,
                               Actor* actor, storage::Store* store, JobIds* ids, models::ModelLibrary* library,
                               const v1::EnvironmentCatalogue& environments) {
  if (request.request_id().size() > kMaxNameBytes || request.submitter().size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(fmt::format("request_id and submitter may have at most {} bytes", kMaxNameBytes));
  }
  if (!request.request_id().empty()) {
    absl::StatusOr<v1::Job> known = store->FindJobByRequestId(request.request_id());
    if (known.ok() || known.status().code() != absl::StatusCode::kNotFound) return known;
  }
  BALLAST_ASSIGN_OR_RETURN(v1::JobSpec spec, Complete(request.spec()));
  BALLAST_RETURN_IF_ERROR(profiles::ResolveEnvironment(environments, &spec));
  // What the job needs stays until the job is stored, and as long as it has not ended.
  const auto keep = library->KeepAll();
  const auto patience = std::min(deadline, std::chrono::system_clock::now() + kDigestPatience);
  BALLAST_ASSIGN_OR_RETURN(auto models, models::ResolveModels(library, patience, &spec));
  BALLAST_ASSIGN_OR_RETURN(std::string job_id, NextUnusedJobId(ids, store));
  core::Submission submission{std::move(job_id), std::move(spec), request.request_id(), request.submitter(),
                              std::move(models)};
  return actor->Call<v1::Job>(deadline, [submission = std::move(submission)](core::Core& core, const core::Instant& now,
                                                                             core::Actions* actions) {
    return core.Submit(now, submission, actions);
  });
}

template <typename T>
grpc::Status Answer(absl::StatusOr<T> result, T* reply) {
  if (!result.ok()) return rpc::ToGrpc(result.status());
  reply->Swap(&*result);
  return grpc::Status::OK;
}

}  // namespace

grpc::Status JobService::SubmitJob(grpc::ServerContext* context, const v1::SubmitJobRequest* request, v1::Job* reply) {
  return Answer(Submit(*request, context->deadline(), actor_, store_, ids_, models_, *environments_), reply);
}

grpc::Status JobService::GetJob(grpc::ServerContext* /*context*/, const v1::GetJobRequest* request, v1::Job* reply) {
  return Answer(store_->GetJob(request->job_id()), reply);
}

grpc::Status JobService::ListJobs(grpc::ServerContext* /*context*/, const v1::ListJobsRequest* request,
                                  v1::ListJobsResponse* reply) {
  return Answer(store_->ListJobs(*request), reply);
}

grpc::Status JobService::CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request, v1::Job* reply) {
  absl::StatusOr<v1::Job> job = actor_->Call<v1::Job>(
      context->deadline(),
      [job_id = request->job_id()](core::Core& core, const core::Instant& now, core::Actions* actions) {
        return core.CancelJob(now, job_id, actions);
      });
  // A job that the core does not hold has ended, and stays as it is; or there is none.
  if (job.status().code() == absl::StatusCode::kNotFound) job = store_->GetJob(request->job_id());
  return Answer(std::move(job), reply);
}

grpc::ServerWriteReactor<v1::JobUpdate>* JobService::WatchJob(grpc::CallbackServerContext* /*context*/,
                                                              const v1::WatchJobRequest* request) {
  return WatchStream::Start(actor_, store_, gate_, request->job_id());
}

}  // namespace ballast::coordinator
