// ballast runs: list, show.
#include <memory>

#include "cli/commands.h"
#include "cli/device_flags.h"
#include "cli/error_text.h"
#include "cli/key_value.h"
#include "cli/paging.h"
#include "cli/render/details.h"
#include "cli/render/list_fields.h"
#include "cli/run_samples.h"
#include "cli/time_text.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct RunsFlags {
  ConnectionFlags connection;
  std::string output;
  std::string limit;
  std::vector<std::string> jobs;
  std::vector<std::string> devices;
  std::vector<std::string> on;
  std::vector<std::string> outcomes;
  std::vector<std::string> states;
  std::vector<std::string> annotations;
  std::string workload;
  std::string since;
  std::string until;
  std::string run_id;
};

absl::Status FillFilter(const RunsFlags& flags, const Context& context, v1::RunFilter* filter) {
  for (const std::string& list : flags.jobs) {
    for (const std::string& job : SplitList(list)) filter->add_job_ids(job);
  }
  for (const std::string& list : flags.devices) {
    for (const std::string& device : SplitList(list)) filter->add_device_ids(device);
  }
  BALLAST_ASSIGN_OR_RETURN(const auto labels, ParseLabels(flags.on));
  filter->mutable_labels()->insert(labels.begin(), labels.end());
  for (const std::string& list : flags.outcomes) {
    for (const std::string& outcome : SplitList(list)) {
      BALLAST_ASSIGN_OR_RETURN(const int number, ParseEnumName("--outcome", outcome, *v1::OutcomeKind_descriptor()));
      filter->add_outcomes(static_cast<v1::OutcomeKind>(number));
    }
  }
  for (const std::string& list : flags.states) {
    for (const std::string& state : SplitList(list)) {
      BALLAST_ASSIGN_OR_RETURN(const int number, ParseEnumName("--state", state, *v1::Run::State_descriptor()));
      filter->add_states(static_cast<v1::Run::State>(number));
    }
  }
  BALLAST_ASSIGN_OR_RETURN(const auto annotations, ParsePairs("--annotate", flags.annotations, /*list=*/false));
  filter->mutable_annotations()->insert(annotations.begin(), annotations.end());
  filter->set_workload_kind(flags.workload);
  if (!flags.since.empty()) {
    BALLAST_ASSIGN_OR_RETURN(*filter->mutable_created_from(), ParsePastTime("--since", flags.since, context.clock));
  }
  if (!flags.until.empty()) {
    BALLAST_ASSIGN_OR_RETURN(*filter->mutable_created_before(),
                             ParsePastTime("--until-time", flags.until, context.clock));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> ListRuns(const RunsFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const std::uint32_t limit, ParseLimit(flags.limit));
  v1::ListRunsRequest request;
  BALLAST_RETURN_IF_ERROR(FillFilter(flags, context, request.mutable_filter()));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  BALLAST_ASSIGN_OR_RETURN(const v1::ListRunsResponse response,
                           ListPages(&v1::RunService::Stub::ListRuns, request, &v1::ListRunsResponse::mutable_runs,
                                     limit, *session, context));
  if (output == OutputFormat::kJson) {
    PrintJson(response, context);
  } else {
    PrintRecords(response.runs(), RunFields(), output, context);
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> ShowRun(const RunsFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(!flags.run_id.empty(), "the run", "ballast runs show RUN; ballast runs list shows them"));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  v1::GetRunRequest request;
  request.set_run_id(flags.run_id);
  const auto run = session->Call(&v1::RunService::Stub::GetRun, request);
  if (!run.ok()) return WithNextStep(run.status(), "ballast runs list");
  if (output == OutputFormat::kJson) {
    PrintJson(*run, context);
  } else if (output == OutputFormat::kCsv) {
    PrintRecords(std::vector<v1::Run>{*run}, RunFields(), output, context);
  } else {
    context.out << RunDetails(*run);
  }
  return ExitCode::kDone;
}

void AddListCommand(CommandTree& tree, CLI::App* group, const std::shared_ptr<RunsFlags>& flags) {
  CLI::App* list =
      tree.Add(group, "list", "Runs, latest first; those that match every condition given.",
               {"ballast runs list", "ballast runs list --on class=mini-pc --outcome oom_killed --since 24h",
                "ballast runs list --job j-0123456789 --output csv > runs.csv",
                "ballast runs list --annotate build=1.4.2 --limit 0"},
               [flags](Context& context) { return ListRuns(*flags, context); });
  const auto several = [list](const char* name, std::vector<std::string>* values, const char* type, const char* help) {
    list->add_option(name, *values, help)->type_name(type)->allow_extra_args(false);
  };
  several("--job", &flags->jobs, "JOB", "Of these jobs");
  several("--device", &flags->devices, "ID", "On these devices");
  several("--on,--label", &flags->on, "LABEL=VALUE", "On devices that have these labels now");
  several("--outcome", &flags->outcomes, "OUTCOME", "With one of these outcomes");
  several("--state", &flags->states, "STATE", "In one of these states: queued, assigned, running, ended");
  several("--annotate", &flags->annotations, "KEY=VALUE", "With this annotation; may be repeated");
  list->add_option("--workload", flags->workload, "With this kind of workload, for instance pressure")
      ->type_name("KIND");
  list->add_option("--since", flags->since, "Created at or after; a time, a date, or 24h for a day ago")
      ->type_name("TIME");
  list->add_option("--until-time", flags->until, "Created before")->type_name("TIME");
  list->add_option("--limit", flags->limit, fmt::format("Most entries, 0 for all (default {})", kDefaultLimit))
      ->type_name("N");
  AddOutputFlag(list, &flags->output);
  AddConnectionFlags(list, &flags->connection);
}

}  // namespace

void AddRunsCommands(CommandTree& tree) {
  const auto flags = std::make_shared<RunsFlags>();
  CLI::App* group = tree.AddGroup("runs", "The history: list runs, show one, read its samples.");
  AddListCommand(tree, group, flags);

  CLI::App* show = tree.Add(group, "show", "One run: its outcome with the evidence, phases, steps and figures.",
                            {"ballast runs show j-0123456789.1", "ballast runs show j-0123456789.1 --output json"},
                            [flags](Context& context) { return ShowRun(*flags, context); });
  show->add_option("run", flags->run_id, "The run")->type_name("RUN");
  AddOutputFlag(show, &flags->output);
  AddConnectionFlags(show, &flags->connection);

  AddRunSamplesCommand(tree, group);
}

}  // namespace ballast::cli
