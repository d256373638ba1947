// Jobs at a user's word: taken in, cancelled, watched. Inside of the core only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/model.pb.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/core/state.h"
#include "coordinator/core/turn.h"
#include "google/protobuf/repeated_ptr_field.h"

namespace ballast::core {

// What is submitted. The specification was checked and its defaults filled in; the identifier is new.
struct Submission {
  std::string job_id;
  v1::JobSpec spec;
  std::string request_id;
  std::string submitter;
  google::protobuf::RepeatedPtrField<v1::ResolvedModel> models{};  // that the specification names, in every variant
  JobOrigin origin{};
};

// Not thread-safe.
class JobDesk {
 public:
  JobDesk(State* state, RunQueue* queue, Scheduler* scheduler) : state_(state), queue_(queue), scheduler_(scheduler) {}

  // See Core.
  absl::StatusOr<v1::Job> Submit(Turn& turn, Submission submission);
  absl::StatusOr<v1::Job> Cancel(Turn& turn, const std::string& job_id);
  std::optional<std::vector<v1::JobUpdate>> Watch(const std::string& job_id);
  void Unwatch(const std::string& job_id);

 private:
  // The devices that the runs of each repetition go to; one without a name for each that is chosen later.
  absl::StatusOr<std::vector<std::string>> FindDevices(const Submission& submission);
  absl::Status AddRuns(Turn& turn, JobEntry* job, const std::vector<std::string>& device_ids);

  State* state_;
  RunQueue* queue_;
  Scheduler* scheduler_;
};

}  // namespace ballast::core
