// Flags that say where the curve of the pattern `trace` comes from: a file, or a run that was recorded.
#pragma once

#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "ballast/v1/job.pb.h"
#include "cli/context.h"
#include "cli/target.h"

namespace ballast::cli {

// The values as they were written; empty where a flag was not given.
struct TraceFlags {
  std::string file;  // --trace
  std::string run;   // --from-run
};

void AddTraceFlags(CLI::App* command, TraceFlags* flags);

// Sets the points of `spec->workload.pressure.trace` where that is the pattern, at most as many as a trace may have:
// longer curves are thinned, which is said on `context.err`. A run's curve is its metric `mem_used_percent`, baseline
// and recovery included, read from the coordinator that `connection` leads to (in local mode from this machine's
// history). INVALID_ARGUMENT: a flag is missing, or does not belong to `mode`, or the file has no such curve;
// FAILED_PRECONDITION: the run has none; otherwise codes of the session.
[[nodiscard]] absl::Status FillTrace(const TraceFlags& flags, const std::string& mode,
                                     const ConnectionFlags& connection, Context& context, v1::JobSpec* spec);

}  // namespace ballast::cli
