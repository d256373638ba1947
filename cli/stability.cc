// ballast stability: a soak of hours.
#include <cmath>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "absl/strings/numbers.h"
#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/job_flags.h"
#include "cli/model_flags.h"
#include "cli/run_job.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/text.h"

namespace ballast::cli {
namespace {

struct Flags {
  ModelFlags model;
  JobFlags job;
  bool use_model = false;
  std::string hours;
  ResultFlags result;
};

absl::StatusOr<ExitCode> RunStability(const Flags& flags, Context& context) {
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_stability();
  if (!flags.hours.empty()) {
    double hours = 0;
    if (!absl::SimpleAtod(flags.hours, &hours) || !std::isfinite(hours) || hours <= 0 || hours > 24 * 365) {
      return WithNextStep(absl::InvalidArgumentError(
                              fmt::format("--hours: {} is not a number of hours above 0", base::Quoted(flags.hours))),
                          "--hours 1.0");
    }
    *spec.mutable_workload()->mutable_stability()->mutable_duration() = base::ToProto(
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double, std::ratio<3600>>(hours)));
  }
  if (flags.use_model) {
    BALLAST_RETURN_IF_ERROR(FillModelLoad(flags.model, "workload.stability.load", &spec));
  } else if (!flags.model.values.empty()) {
    return WithNextStep(
        absl::InvalidArgumentError(fmt::format("{} says how a model is loaded, but --use-model is not given",
                                               flags.model.values.begin()->first)),
        "--use-model --model-id tiny");
  }
  BALLAST_RETURN_IF_ERROR(FillPressureBeside(
      flags.model.pressure, "the model",
      [](v1::JobSpec* job) { return job->mutable_workload()->mutable_stability()->mutable_pressure(); }, &spec));
  // A soak without anything to do would only wait.
  if (!spec.workload().stability().has_pressure() && !flags.use_model) {
    spec.mutable_workload()->mutable_stability()->mutable_pressure()->mutable_burst();
  }
  BALLAST_RETURN_IF_ERROR(FillJob(flags.job, &spec));
  BALLAST_RETURN_IF_ERROR(CheckJob(spec, "stability"));
  return RunJob(std::move(spec), flags.result, context);
}

}  // namespace

void AddStabilityCommand(CommandTree& tree) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      tree.Add(nullptr, "stability",
               "Repeat pressure, and loading a model when asked, for hours: leaks, drift, time to failure.",
               {"ballast stability --hours 1.0 --save-report",
                "ballast stability --hours 8 --use-model --model-id qwen2.5-1.5b --mode burst --target 60 --duration "
                "30s --detach",
                "ballast stability --hours 0.05 --use-model --model-id tiny", "",
                "Without --mode and --use-model each cycle is a burst to 70 %. The soak goes on after a restart of the "
                "worker, the device or the "
                "coordinator; ballast report JOB shows what there is at any moment."},
               [flags](Context& context) { return RunStability(*flags, context); });
  command->add_option("--hours", flags->hours, "How long, in hours (default 1)")->type_name("HOURS")->group("Soak");
  command->add_flag("--use-model", flags->use_model, "Load and use a model in each cycle")->group("Soak");
  AddModelFlags(command, /*with_quant=*/true, &flags->model);
  AddJobFlags(command, &flags->job, "--runs");
  AddSubmissionFlags(command, &flags->result);
}

}  // namespace ballast::cli
