// ballast model: loads and uses a model, under pressure when asked.
#include <memory>
#include <utility>

#include "cli/commands.h"
#include "cli/job_flags.h"
#include "cli/model_flags.h"
#include "cli/run_job.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct Flags {
  ModelFlags model;
  JobFlags job;
  std::string repeat;
  ResultFlags result;
};

absl::StatusOr<ExitCode> RunModel(const Flags& flags, Context& context) {
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_model();
  BALLAST_RETURN_IF_ERROR(FillModelLoad(flags.model, "workload.model.load", &spec));
  BALLAST_RETURN_IF_ERROR(FillPressureBeside(
      flags.model.pressure, "the model",
      [](v1::JobSpec* job) { return job->mutable_workload()->mutable_model()->mutable_pressure(); }, &spec));
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--repeat", "workload.model.loads", flags.repeat, "3", &spec));
  BALLAST_RETURN_IF_ERROR(FillJob(flags.job, &spec));
  BALLAST_RETURN_IF_ERROR(CheckJob(spec, "model"));
  return RunJob(std::move(spec), flags.result, context);
}

}  // namespace

void AddModelCommand(CommandTree& tree) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Add(
      nullptr, "model", "Load a model and use it, under pressure when asked, and report time, memory and how it ended.",
      {"ballast model --model-id tiny", "ballast model --model-id tiny --mode burst --target 70 --save-report",
       "ballast model --model-id qwen2.5-7b-zh --quant Q4_K_M --mode staircase --step-size 200 --steps 10 "
       "--test-duration 120",
       "ballast model --model-id qwen2.5-1.5b --loader read --repeat 5 --until oom --expect OOM_KILLED",
       "ballast model --model-id qwen2.5-1.5b --runtime llama.cpp --no-repack --on class=mini-pc", "",
       "The pressure stays as it is while the model is loaded: what the model takes comes on top of it.",
       "--until oom turns the guard off, which would end the load before the device is out of memory."},
      [flags](Context& context) { return RunModel(*flags, context); });
  AddModelFlags(command, /*with_quant=*/true, &flags->model);
  command->add_option("--repeat", flags->repeat, "Loads in a run, each by a fresh process (default 1)")
      ->type_name("N")
      ->group("Model");
  AddJobFlags(command, &flags->job, "--runs");
  AddSubmissionFlags(command, &flags->result);
}

}  // namespace ballast::cli
