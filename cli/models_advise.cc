// ballast models advise.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/key_value.h"
#include "cli/model_limit_flags.h"
#include "cli/models.h"
#include "cli/render/model_tables.h"
#include "cli/session.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct AdviseFlags {
  ConnectionFlags connection;
  std::string output;
  std::string model_id;
  std::vector<std::string> on;
  std::vector<std::string> devices;
  bool all = false;
  ModelLimitFlags limits;
  std::vector<std::string> jobs;
  std::string loader;
  std::string runtime;
  bool include_invalid = false;
};

// `mmap+populate` and `llama.cpp` as people write them.
std::string WordOf(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '+' || c == '.'; }, '_');
  return EnumStyle(text);
}

absl::StatusOr<v1::AdviseModelRequest> ReadRequest(const AdviseFlags& flags) {
  v1::AdviseModelRequest request;
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(!flags.model_id.empty(), "--model", "ballast models advise --model ID; ballast models list"));
  request.set_model_id(flags.model_id);
  BALLAST_ASSIGN_OR_RETURN(const auto labels, ParsePairs("--on", flags.on));
  for (const auto& [label, value] : labels) (*request.mutable_devices()->mutable_labels())[label] = value;
  for (const std::string& device : flags.devices) request.mutable_devices()->add_device_ids(device);
  if (flags.all) request.mutable_devices()->set_all(true);
  BALLAST_RETURN_IF_ERROR(FillModelLimits(flags.limits, request.mutable_limits()));
  for (const std::string& text : flags.jobs) {
    for (const std::string& job : SplitList(text)) request.add_job_ids(job);
  }
  if (!flags.loader.empty()) {
    BALLAST_ASSIGN_OR_RETURN(const int loader,
                             ParseEnumName("--loader", WordOf(flags.loader), *v1::ModelLoad::Loader_descriptor()));
    request.set_loader(static_cast<v1::ModelLoad::Loader>(loader));
  }
  if (!flags.runtime.empty()) {
    BALLAST_ASSIGN_OR_RETURN(const int runtime,
                             ParseEnumName("--runtime", WordOf(flags.runtime), *v1::ModelLoad::Runtime_descriptor()));
    request.set_runtime(static_cast<v1::ModelLoad::Runtime>(runtime));
  }
  request.set_include_invalid(flags.include_invalid);
  return request;
}

absl::StatusOr<ExitCode> Advise(const AdviseFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const v1::AdviseModelRequest request, ReadRequest(flags));
  if (output == OutputFormat::kCsv) {
    return WithNextStep(absl::InvalidArgumentError("--output csv: advice is a table or JSON"), "--output json");
  }
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  const auto advice = session->Call(&v1::ModelService::Stub::AdviseModel, request);
  if (absl::IsNotFound(advice.status())) {
    return WithNextStep(advice.status(), "ballast models list, ballast devices list, ballast jobs list");
  }
  BALLAST_RETURN_IF_ERROR(advice.status());
  if (output == OutputFormat::kJson) {
    PrintJson(*advice, context);
    return ExitCode::kDone;
  }
  const std::string conditions = ConditionsText(advice->conditions());
  if (!conditions.empty()) context.out << fmt::format("{}: {}\n", advice->model_id(), conditions);
  context.out << AdviceTable(*advice, TableWidth(context)) << AdviceText(*advice);
  return ExitCode::kDone;
}

}  // namespace

void AddModelsAdviseCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<AdviseFlags>();
  CLI::App* command =
      tree.Add(group, "advise",
               "Which level of a model to use: the best that meets the limits, by what was measured, and by estimates "
               "elsewhere.",
               {"ballast models advise --model qwen2.5-7b-zh --max-load 30s",
                "ballast models advise --model qwen2.5-7b-zh --on class=mini-pc --devices 80% --min-passes 2",
                "ballast models advise --model tiny --device ID --max-resident 1.5GiB --output json"},
               [flags](Context& context) { return Advise(*flags, context); });
  command->add_option("--model", flags->model_id, "Identifier in the catalogue")->type_name("ID");
  command->add_option("--on", flags->on, "Devices with these labels (default: every device)")
      ->type_name("LABEL=VALUE")
      ->group("Where")
      ->allow_extra_args(false);
  command->add_option("--device", flags->devices, "This device; may be repeated")
      ->type_name("ID")
      ->group("Where")
      ->allow_extra_args(false);
  command->add_flag("--all", flags->all, "Every device")->group("Where");
  AddModelLimitFlags(command, &flags->limits);
  command->add_option("--job", flags->jobs, "Only loads of these jobs")
      ->type_name("JOB")
      ->group("Which loads")
      ->allow_extra_args(false);
  command
      ->add_option("--loader", flags->loader,
                   "Only loads by mmap, mmap+populate, read or direct (default: as the latest)")
      ->type_name("WAY")
      ->group("Which loads");
  command->add_option("--runtime", flags->runtime, "Only loads by builtin or llama.cpp (default: as the latest)")
      ->type_name("RUNTIME")
      ->group("Which loads");
  command->add_flag("--include-invalid", flags->include_invalid, "Count invalid runs too")->group("Which loads");
  AddOutputFlag(command, &flags->output);
  AddConnectionFlags(command, &flags->connection);
}

}  // namespace ballast::cli
