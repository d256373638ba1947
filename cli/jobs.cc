// ballast jobs: list, show, cancel.
#include <memory>

#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/key_value.h"
#include "cli/paging.h"
#include "cli/render/details.h"
#include "cli/render/list_fields.h"
#include "cli/render/text_width.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

constexpr char kFindJobs[] = "ballast jobs list";

struct JobsFlags {
  ConnectionFlags connection;
  std::string output;
  std::string limit;
  std::vector<std::string> states;
  std::vector<std::string> job_ids;
};

absl::StatusOr<ExitCode> ListJobs(const JobsFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const std::uint32_t limit, ParseLimit(flags.limit));
  v1::ListJobsRequest request;
  for (const std::string& list : flags.states) {
    for (const std::string& state : SplitList(list)) {
      BALLAST_ASSIGN_OR_RETURN(const int number, ParseEnumName("--state", state, *v1::Job::State_descriptor()));
      request.add_states(static_cast<v1::Job::State>(number));
    }
  }
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  BALLAST_ASSIGN_OR_RETURN(const v1::ListJobsResponse response,
                           ListPages(&v1::JobService::Stub::ListJobs, request, &v1::ListJobsResponse::mutable_jobs,
                                     limit, *session, context));
  if (output == OutputFormat::kJson) {
    PrintJson(response, context);
  } else {
    PrintRecords(response.jobs(), JobFields(), output, context);
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> ShowJob(const JobsFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(flags.job_ids.size() == 1, "one job", "ballast jobs show JOB; ballast jobs list shows them"));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  v1::GetJobRequest request;
  request.set_job_id(flags.job_ids.front());
  const auto job = session->Call(&v1::JobService::Stub::GetJob, request);
  if (!job.ok()) return WithNextStep(job.status(), kFindJobs);
  if (output == OutputFormat::kJson) {
    PrintJson(*job, context);
    return ExitCode::kDone;
  }
  if (output == OutputFormat::kCsv) {
    PrintRecords(std::vector<v1::Job>{*job}, JobFields(), output, context);
    return ExitCode::kDone;
  }
  v1::ListRunsRequest runs_request;
  runs_request.mutable_filter()->add_job_ids(job->job_id());
  BALLAST_ASSIGN_OR_RETURN(const v1::ListRunsResponse runs,
                           ListPages(&v1::RunService::Stub::ListRuns, runs_request, &v1::ListRunsResponse::mutable_runs,
                                     0, *session, context));
  context.out << JobDetails(*job) << '\n';
  PrintRecords(std::vector<v1::Run>(runs.runs().rbegin(), runs.runs().rend()), RunFields(), output, context);
  return ExitCode::kDone;
}

// Whether a failure is about the one job that was named, and the others may still be cancelled.
bool IsAboutJob(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsInvalidArgument(status) || absl::IsPermissionDenied(status) ||
         absl::IsFailedPrecondition(status);
}

// All causes, with the first one's code and next step.
absl::Status AndAlso(const absl::Status& first, const absl::Status& next) {
  if (first.ok()) return next;
  const absl::Status both(first.code(),
                          fmt::format("{}\n{}", std::string(first.message()), std::string(next.message())));
  const auto step = base::NextStepOf(first);
  return step ? WithNextStep(both, *step) : both;
}

void PrintCancelled(const v1::ListJobsResponse& cancelled, OutputFormat output, Context& context) {
  if (output == OutputFormat::kJson) {
    PrintJson(cancelled, context);
  } else if (output == OutputFormat::kCsv) {
    PrintRecords(cancelled.jobs(), JobFields(), output, context);
  } else {
    for (const v1::Job& job : cancelled.jobs()) {
      const bool ended = job.state() == v1::Job::FINISHED || job.state() == v1::Job::CANCELLED;
      context.out << fmt::format(
          "{}: {}\n", Printable(job.job_id()),
          ended ? (job.state() == v1::Job::CANCELLED ? "cancelled" : "had already finished") : "being cancelled");
    }
  }
}

absl::StatusOr<ExitCode> CancelJobs(const JobsFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(!flags.job_ids.empty(), "the job", "ballast jobs cancel JOB…; ballast jobs list shows them"));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  v1::ListJobsResponse cancelled;
  absl::Status failed;
  for (const std::string& job_id : flags.job_ids) {
    v1::CancelJobRequest request;
    request.set_job_id(job_id);
    auto job = session->Call(&v1::JobService::Stub::CancelJob, request);
    if (job.ok()) {
      *cancelled.add_jobs() = *std::move(job);
      continue;
    }
    failed = AndAlso(failed, WithNextStep(job.status(), kFindJobs));
    if (!IsAboutJob(job.status())) break;
  }
  // What was done is told, whatever else was not.
  if (failed.ok() || !cancelled.jobs().empty()) PrintCancelled(cancelled, output, context);
  BALLAST_RETURN_IF_ERROR(failed);
  return ExitCode::kDone;
}

void AddCommonFlags(CLI::App* command, JobsFlags* flags) {
  AddOutputFlag(command, &flags->output);
  AddConnectionFlags(command, &flags->connection);
}

}  // namespace

void AddJobsCommands(CommandTree& tree) {
  const auto flags = std::make_shared<JobsFlags>();
  CLI::App* group = tree.AddGroup("jobs", "List, show and cancel jobs.");

  CLI::App* list = tree.Add(group, "list", "Jobs, latest first.",
                            {"ballast jobs list", "ballast jobs list --state queued,running --output json"},
                            [flags](Context& context) { return ListJobs(*flags, context); });
  list->add_option("--state", flags->states, "Only in these states: queued, running, finished, cancelled")
      ->type_name("STATE")
      ->allow_extra_args(false);
  list->add_option("--limit", flags->limit, fmt::format("Most entries, 0 for all (default {})", kDefaultLimit))
      ->type_name("N");
  AddCommonFlags(list, flags.get());

  CLI::App* show = tree.Add(group, "show", "One job with its specification and its runs.",
                            {"ballast jobs show j-0123456789", "ballast jobs show j-0123456789 --output json"},
                            [flags](Context& context) { return ShowJob(*flags, context); });
  show->add_option("job", flags->job_ids, "The job")->type_name("JOB");
  AddCommonFlags(show, flags.get());

  CLI::App* cancel =
      tree.Add(group, "cancel", "Ask every run of a job to end; running ones end within a second.",
               {"ballast jobs cancel j-0123456789"}, [flags](Context& context) { return CancelJobs(*flags, context); });
  cancel->add_option("job", flags->job_ids, "The jobs")->type_name("JOB");
  AddCommonFlags(cancel, flags.get());
}

}  // namespace ballast::cli
