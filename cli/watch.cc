// ballast watch: follow a job to its end.
#include <memory>

#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/report_files.h"
#include "cli/run_job.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct WatchFlags {
  std::string job_id;
  ResultFlags result;
};

absl::StatusOr<ExitCode> RunWatch(const WatchFlags& flags, Context& context) {
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(!flags.job_id.empty(), "the job", "ballast watch JOB; ballast jobs list shows them"));
  BALLAST_RETURN_IF_ERROR(ParseOutputFormat(flags.result.output).status());
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.result.connection, Session::Use::kHistory));
  if (session->owner()) {
    // Nobody runs the private worker: a job that a killed command left behind goes on here.
    v1::GetJobRequest request;
    request.set_job_id(flags.job_id);
    const auto job = session->Call(&v1::JobService::Stub::GetJob, request);
    if (!job.ok()) return WithNextStep(job.status(), "ballast jobs list");
    if (job->state() == v1::Job::QUEUED || job->state() == v1::Job::RUNNING)
      BALLAST_RETURN_IF_ERROR(session->StartWorker());
  }
  const auto followed = FollowJob(flags.job_id, *session, context);
  if (!followed.ok()) return WithNextStep(followed.status(), "ballast jobs list");
  return FinishJob(*followed, flags.result, *session, context);
}

}  // namespace

void AddWatchCommand(CommandTree& tree) {
  const auto flags = std::make_shared<WatchFlags>();
  CLI::App* command =
      tree.Add(nullptr, "watch", "Follow a job to its end and print its results. Ctrl+C leaves a fleet's job running.",
               {"ballast watch j-0123456789", "ballast watch j-0123456789 --output json > report.json"},
               [flags](Context& context) { return RunWatch(*flags, context); });
  command->add_option("job", flags->job_id, "The job")->type_name("JOB");
  AddResultFlags(command, &flags->result);
}

}  // namespace ballast::cli
