#include "coordinator/rpc/job_intake.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/config/job_rules.h"
#include "common/environment/catalogue.h"
#include "coordinator/core/request_id.h"
#include "coordinator/models/job_models.h"

namespace ballast::coordinator {
namespace {

// A specification is kept with its job and goes out with every assignment.
constexpr std::size_t kMaxSpecBytes = 64U << 10U;
constexpr std::size_t kMaxNameBytes = 128;
// Identifiers of requests that begin so are the core's own.
constexpr std::string_view kOwnRequests = "ballast:";
// How long a submission waits for the digest of a large file; after that the user is told how far it has come.
constexpr std::chrono::seconds kDigestPatience(20);

// Fills in the defaults of a submitted specification, and checks it.
absl::Status Complete(v1::JobSpec* spec) {
  if (spec->ByteSizeLong() > kMaxSpecBytes) {
    return absl::InvalidArgumentError(fmt::format("the job specification has {} bytes; at most {} are accepted",
                                                  spec->ByteSizeLong(), kMaxSpecBytes));
  }
  config::ApplyDefaults(spec);
  return config::Validate(*spec);
}

}  // namespace

absl::StatusOr<v1::Job> JobIntake::Submit(const v1::SubmitJobRequest& request,
                                          std::chrono::system_clock::time_point deadline) {
  if (request.request_id().size() > kMaxNameBytes || request.submitter().size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(fmt::format("request_id and submitter may have at most {} bytes", kMaxNameBytes));
  }
  if (request.request_id().starts_with(kOwnRequests)) {
    return absl::InvalidArgumentError(
        fmt::format("request_id: identifiers that begin with {} are the coordinator's own", kOwnRequests));
  }
  return Take(
      {.job_id = "", .spec = request.spec(), .request_id = request.request_id(), .submitter = request.submitter()},
      deadline);
}

absl::StatusOr<v1::Job> JobIntake::SubmitWanted(const core::WantJob& want,
                                                std::chrono::system_clock::time_point deadline) {
  return Take({.job_id = "",
               .spec = want.spec,
               .request_id = want.request_id,
               .submitter = want.submitter,
               .origin = want.origin},
              deadline);
}

absl::Status JobIntake::Check(std::chrono::system_clock::time_point deadline, v1::JobSpec* spec) {
  BALLAST_RETURN_IF_ERROR(Complete(spec));
  v1::JobSpec resolved = *spec;
  BALLAST_RETURN_IF_ERROR(profiles::ResolveEnvironment(*environments_, &resolved));
  const auto keep = models_->KeepAll();
  const auto patience = std::min(deadline, std::chrono::system_clock::now() + kDigestPatience);
  return models::ResolveModels(models_, patience, &resolved).status();
}

absl::StatusOr<v1::Job> JobIntake::Take(core::Submission submission, std::chrono::system_clock::time_point deadline) {
  if (!submission.request_id.empty()) {
    absl::StatusOr<v1::Job> known = store_->FindJobByRequestId(submission.request_id);
    if (!known.ok() && !absl::IsNotFound(known.status())) return known.status();
    if (known.ok() && !submission.origin.wanted()) return core::JobOfRequest(*known, submission.submitter);
    if (known.ok()) {
      // The core waits to hear of a job that it wanted, also of one that is there already.
      return actor_->Call<v1::Job>(
          deadline,
          [origin = submission.origin, job = *known](core::Core& core, const core::Instant& now,
                                                     core::Actions* actions) -> absl::StatusOr<v1::Job> {
            core.WantedJobKnown(now, origin, job.job_id(), actions);
            return job;
          });
    }
  }
  BALLAST_RETURN_IF_ERROR(Complete(&submission.spec));
  BALLAST_RETURN_IF_ERROR(profiles::ResolveEnvironment(*environments_, &submission.spec));
  // What the job needs stays until the job is stored, and as long as it has not ended.
  const auto keep = models_->KeepAll();
  const auto patience = std::min(deadline, std::chrono::system_clock::now() + kDigestPatience);
  BALLAST_ASSIGN_OR_RETURN(submission.models, models::ResolveModels(models_, patience, &submission.spec));
  BALLAST_ASSIGN_OR_RETURN(submission.job_id, NextUnusedJobId(ids_, store_));
  return actor_->Call<v1::Job>(deadline, [submission = std::move(submission)](
                                             core::Core& core, const core::Instant& now, core::Actions* actions) {
    return core.Submit(now, submission, actions);
  });
}

}  // namespace ballast::coordinator
