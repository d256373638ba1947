// ballast quantization: one model at several levels, side by side.
#include <memory>
#include <utility>

#include "absl/strings/str_split.h"
#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/job_flags.h"
#include "cli/model_flags.h"
#include "cli/run_job.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct Flags {
  ModelFlags model;
  JobFlags job;
  std::vector<std::string> levels;
  std::string repeat;
  std::string seed;
  ResultFlags result;
};

absl::StatusOr<ExitCode> RunQuantization(const Flags& flags, Context& context) {
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_quantization();
  BALLAST_RETURN_IF_ERROR(FillModelLoad(flags.model, "workload.quantization.load", &spec));
  for (const std::string& list : flags.levels) {
    for (const absl::string_view level : absl::StrSplit(list, ',')) {
      if (level.empty()) {
        return WithNextStep(absl::InvalidArgumentError("--quant-levels: a level is empty"),
                            "--quant-levels Q2_K,Q4_K_M,Q6_K");
      }
      spec.mutable_workload()->mutable_quantization()->add_quant_levels(std::string(level));
    }
  }
  BALLAST_RETURN_IF_ERROR(FillPressureBeside(
      flags.model.pressure, "the model",
      [](v1::JobSpec* job) { return job->mutable_workload()->mutable_quantization()->mutable_pressure(); }, &spec));
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--repeat", "workload.quantization.loads_per_level", flags.repeat, "3", &spec));
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--seed", "workload.quantization.seed", flags.seed, "1", &spec));
  BALLAST_RETURN_IF_ERROR(FillJob(flags.job, &spec));
  BALLAST_RETURN_IF_ERROR(CheckJob(spec, "quantization"));
  return RunJob(std::move(spec), flags.result, context);
}

}  // namespace

void AddQuantizationCommand(CommandTree& tree) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Add(
      nullptr, "quantization", "Load one model at several quantisation levels, rank them, and name the best that fits.",
      {"ballast quantization --model-id tiny --quant-levels Q2_K,Q4_K_M,Q6_K --save-report",
       "ballast quantization --model-id qwen2.5-7b-zh --mode burst --target 50 --repeat 5 --all", "",
       "Each level has its turn once in a round, in an order drawn from the seed. A level that is OOM-killed ends that "
       "load, and the "
       "next goes on."},
      [flags](Context& context) { return RunQuantization(*flags, context); });
  AddModelFlags(command, /*with_quant=*/false, &flags->model);
  command->add_option("--quant-levels", flags->levels, "Levels, separated by commas (default: all of the catalogue's)")
      ->type_name("LEVELS")
      ->group("Model")
      ->allow_extra_args(false);
  command->add_option("--repeat", flags->repeat, "Loads of each level (default 3)")->type_name("N")->group("Model");
  command->add_option("--seed", flags->seed, "What the order of the loads is drawn from (default 1)")
      ->type_name("N")
      ->group("Model");
  AddJobFlags(command, &flags->job, "--runs");
  AddSubmissionFlags(command, &flags->result);
}

}  // namespace ballast::cli
