// ballast simple: memory pressure from flags.
#include <memory>

#include "cli/commands.h"
#include "cli/job_flags.h"
#include "cli/pressure_flags.h"
#include "cli/run_job.h"
#include "cli/trace_flags.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct SimpleFlags {
  PressureFlags pressure;
  TraceFlags trace;
  JobFlags job;
  ResultFlags result;
};

absl::StatusOr<ExitCode> RunSimple(const SimpleFlags& flags, Context& context) {
  v1::JobSpec spec;
  BALLAST_RETURN_IF_ERROR(FillPressure(flags.pressure, &spec));
  BALLAST_RETURN_IF_ERROR(FillJob(flags.job, &spec));
  BALLAST_RETURN_IF_ERROR(FillTrace(flags.trace, flags.pressure.mode, flags.result.connection, context, &spec));
  BALLAST_RETURN_IF_ERROR(CheckPressureJob(flags.pressure, spec));
  return RunJob(std::move(spec), flags.result, context);
}

}  // namespace

void AddSimpleCommand(CommandTree& tree) {
  const auto flags = std::make_shared<SimpleFlags>();
  CLI::App* command = tree.Add(
      nullptr, "simple", "Put memory under pressure in one of five patterns, and report what happened.",
      {"ballast simple --mode staircase --step-size 100 --interval 1.0 --steps 20",
       "ballast simple --mode burst --target 70 --duration 5.0 --save-report",
       "ballast simple --mode sawtooth --min 30 --max 70 --cycles 3 --duration 10",
       "ballast simple --mode allocate_full --until oom --expect OOM_KILLED",
       "ballast simple --mode burst --target 3GiB --hot 25% --duration 1m --settle 2m",
       "ballast simple --mode burst --psi some=20 --duration 1m", "ballast simple --mode trace --trace curve.csv",
       "ballast simple --mode trace --from-run j-0123456789.1",
       "ballast simple --mode burst --target 80 --duration 60 --on class=mini-pc --repeat 5 --coordinator "
       "lab:7850 --detach",
       "ballast simple --mode burst --target 70 --dry-run > job.yaml", "",
       "Sizes: 100 (MiB), 100MB, 1.5GiB. Times: 5 (seconds), 250ms, 90s, 10m, 8h."},
      [flags](Context& context) { return RunSimple(*flags, context); });
  AddPressureFlags(command, &flags->pressure);
  AddTraceFlags(command, &flags->trace);
  AddJobFlags(command, &flags->job);
  AddSubmissionFlags(command, &flags->result);
}

}  // namespace ballast::cli
