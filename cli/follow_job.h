// Following a job to its end, as simple, submit and watch do.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"
#include "cli/context.h"
#include "cli/session.h"

namespace ballast::cli {

// What an interrupt (Ctrl+C, SIGTERM) means while a job is followed.
enum class OnInterrupt {
  kLeave,   // stop following; the job goes on
  kCancel,  // cancel the job and follow it to its end; the second interrupt stops following
};

struct FollowedJob {
  v1::Job job;
  std::vector<v1::Run> runs;  // ordered by number
  bool ended = false;         // false: following was stopped by an interrupt
  bool interrupted = false;   // an interrupt came
};

// Follows a job, with progress on `context.err`. When the coordinator goes away it connects again, with growing pauses,
// and says so; UNAVAILABLE after five minutes of that, or at once when a private coordinator has ended. NOT_FOUND.
[[nodiscard]] absl::StatusOr<FollowedJob> FollowJob(const std::string& job_id, OnInterrupt on_interrupt,
                                                    Session& session, Context& context);

}  // namespace ballast::cli
