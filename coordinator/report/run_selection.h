// Which runs a report or a comparison is about.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"
#include "storage/store.h"

namespace ballast::report {

// Runs with the jobs they belong to.
struct RunSelection {
  std::vector<v1::Job> jobs;  // in order of submission
  std::vector<v1::Run> runs;  // ordered by job, device and repetition; each of them once

  // The job of a run of this selection.
  [[nodiscard]] const v1::Job& JobOf(const v1::Run& run) const;
};

// Whether an identifier is a run's (it has a dot) rather than a job's.
[[nodiscard]] bool IsRunId(std::string_view id);

// The runs of the jobs, and the runs. NOT_FOUND names every identifier that does not exist.
[[nodiscard]] absl::StatusOr<RunSelection> SelectRuns(storage::Store& store, std::span<const std::string> job_ids,
                                                      std::span<const std::string> run_ids);

// The devices of the runs, ordered by identifier. A device that was removed since has nothing but its identifier.
[[nodiscard]] absl::StatusOr<std::vector<v1::Device>> DevicesOf(storage::Store& store, std::span<const v1::Run> runs);

}  // namespace ballast::report
