// The way of a job into the core: completed, checked, resolved, numbered.
#pragma once

#include <chrono>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/environment.pb.h"
#include "coordinator/models/model_library.h"
#include "coordinator/rpc/actor.h"
#include "coordinator/rpc/job_ids.h"
#include "storage/store.h"

namespace ballast::coordinator {

// What it is given must outlive it. Thread-safe; blocks on the disk, and on the digests of large models.
class JobIntake {
 public:
  JobIntake(Actor* actor, storage::Store* store, JobIds* ids, models::ModelLibrary* models,
            const v1::EnvironmentCatalogue* environments)
      : actor_(actor), store_(store), ids_(ids), models_(models), environments_(environments) {}

  // A user's job. Codes as in SubmitJob.
  [[nodiscard]] absl::StatusOr<v1::Job> Submit(const v1::SubmitJobRequest& request,
                                               std::chrono::system_clock::time_point deadline);
  // One that the core wants: of a schedule, or to test a device. What its specification names is found out now.
  [[nodiscard]] absl::StatusOr<v1::Job> SubmitWanted(const core::WantJob& want,
                                                     std::chrono::system_clock::time_point deadline);
  // Whether this specification could be submitted, devices aside; its defaults are filled in, what it names is not.
  [[nodiscard]] absl::Status Check(std::chrono::system_clock::time_point deadline, v1::JobSpec* spec);

 private:
  [[nodiscard]] absl::StatusOr<v1::Job> Take(core::Submission submission,
                                             std::chrono::system_clock::time_point deadline);

  Actor* const actor_;
  storage::Store* const store_;
  JobIds* const ids_;
  models::ModelLibrary* const models_;
  const v1::EnvironmentCatalogue* const environments_;
};

}  // namespace ballast::coordinator
