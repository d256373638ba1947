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

struct FollowedJob {
  v1::Job job;
  std::vector<v1::Run> runs;  // ordered by number
  bool ended = false;         // false: following was stopped by an interrupt
  bool interrupted = false;   // an interrupt came
};

// Follows a job, with progress on `context.err`. When the coordinator goes away it connects again, with growing pauses,
// and says so; UNAVAILABLE after five minutes of that. The owner of a private coordinator starts it and its worker
// again when they end; UNAVAILABLE when that happens too often. NOT_FOUND.
//
// The certificate of the session is renewed when that is due, and where the coordinator ends the connection because of
// the one that it began with, it goes on with the one that is kept by then; UNAUTHENTICATED when that is refused, too.
//
// An interrupt (Ctrl+C, SIGTERM) stops following, and the job goes on; but it could not go on without the owner of its
// coordinator, who cancels the job and follows it to its end, until a second interrupt.
[[nodiscard]] absl::StatusOr<FollowedJob> FollowJob(const std::string& job_id, Session& session, Context& context);

}  // namespace ballast::cli
