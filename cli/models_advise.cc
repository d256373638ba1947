// ballast models advise
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/device_flags.h"
#include "cli/error_text.h"
#include "cli/key_value.h"
#include "cli/model_limit_flags.h"
#include "cli/models.h"
#include "cli/render/model_tables.h"
#include "cli/report_files.h"
#include "cli/session.h"

namespace ballast::cli {
namespace {

struct AdviseFlags {
  ConnectionFlags connection;
  std::string output;
  std::string model_id;
  DeviceFlags where;
  ModelLimitFlags limits;
  std::vector<std::string> jobs;
  std::string loader;
  std::string runtime;
  bool include_invalid = false;
};

absl::StatusOr<v1::AdviseModelRequest> ReadRequest(const AdviseFlags& flags) {
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.model_id.empty(), "--model-id",
                                          "ballast models advise --model-id ID; ballast models list shows them"));
  v1::AdviseModelRequest request;
  request.set_model_id(flags.model_id);
  BALLAST_RETURN_IF_ERROR(FillDevices(flags.where, request.mutable_devices()));
  BALLAST_RETURN_IF_ERROR(FillModelLimits(flags.limits, request.mutable_limits()));
  for (const std::string& list : flags.jobs) {
    for (const std::string& job : SplitList(list)) request.add_job_ids(job);
  }
  BALLAST_RETURN_IF_ERROR(FillHow(flags.loader, flags.runtime, &request));
  request.set_include_invalid(flags.include_invalid);
  return request;
}

absl::StatusOr<ExitCode> Advise(const AdviseFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  if (output == OutputFormat::kCsv) {
    return WithNextStep(absl::InvalidArgumentError("--output csv: advice is a table or JSON"), "--output json");
  }
  BALLAST_ASSIGN_OR_RETURN(const v1::AdviseModelRequest request, ReadRequest(flags));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  const auto advice = session->Call(&v1::ModelService::Stub::AdviseModel, request);
  if (!advice.ok()) {
    return absl::IsNotFound(advice.status())
               ? WithNextStep(advice.status(), "ballast models list, ballast devices list, ballast jobs list")
               : advice.status();
  }
  if (advice->device_count() == 0) {
    context.err << (session->local() ? fmt::format("note: this machine becomes known with the first run here: ballast "
                                                   "model --model-id {}\n",
                                                   request.model_id())
                                     : "note: ballast devices list shows the devices and their labels\n");
  }
  if (output == OutputFormat::kJson) {
    PrintJson(*advice, context);
    return ExitCode::kDone;
  }
  context.out << AdviceTable(*advice, TableWidth(context)) << AdviceText(*advice);
  return ExitCode::kDone;
}

}  // namespace

void AddModelsAdviseCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<AdviseFlags>();
  CLI::App* command = tree.Add(
      group, "advise",
      "Which level of a model to use: the best one that meets the limits, by what was measured, and by estimates where "
      "nothing was.",
      {"ballast models advise --model-id qwen2.5-7b-zh --max-load 30s",
       "ballast models advise --model-id qwen2.5-7b-zh --on class=mini-pc --devices 80% --min-passes 2",
       "ballast models advise --model-id tiny --device ID --max-resident 1.5GiB --output json"},
      [flags](Context& context) { return Advise(*flags, context); });
  command->add_option("--model-id,--model", flags->model_id, "The model, by its identifier in the catalogue")
      ->type_name("ID");
  AddDeviceFlags(command, &flags->where);
  AddModelLimitFlags(command, &flags->limits);
  command->add_option("--job", flags->jobs, "Only loads of these jobs")
      ->type_name("JOB")
      ->group("Which loads")
      ->allow_extra_args(false);
  command
      ->add_option("--loader", flags->loader,
                   "Only loads by mmap, mmap+populate, read or direct (default: as the latest)")
      ->type_name("HOW")
      ->group("Which loads");
  command->add_option("--runtime", flags->runtime, "Only loads by builtin or llama.cpp (default: as the latest)")
      ->type_name("WHAT")
      ->group("Which loads");
  AddIncludeInvalidFlag(command, &flags->include_invalid);
  AddOutputFlag(command, &flags->output);
  AddConnectionFlags(command, &flags->connection);
}

}  // namespace ballast::cli
