#include "cli/run_job.h"

#include <sys/random.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <fmt/format.h>

#include "cli/command_tree.h"
#include "cli/device_flags.h"
#include "cli/environments.h"
#include "cli/error_text.h"
#include "cli/paging.h"
#include "cli/render/list_fields.h"
#include "cli/render/records.h"
#include "cli/report_files.h"
#include "common/base/status.h"
#include "common/config/field_rules.h"
#include "common/config/yaml.h"

namespace ballast::cli {
namespace {

// Makes a second SubmitJob after a lost answer harmless.
absl::StatusOr<std::string> NewRequestId() {
  std::array<std::uint64_t, 2> random{};
  if (::getrandom(random.data(), sizeof random, 0) != static_cast<ssize_t>(sizeof random)) {
    return absl::InternalError("the kernel gives no random numbers");
  }
  return fmt::format("cli-{:016x}{:016x}", random[0], random[1]);
}

// Jobs of an earlier local command that was killed: nobody waits for them, and they would take this command's place.
absl::Status CancelLeftovers(Session& session, Context& context) {
  v1::ListJobsRequest request;
  request.add_states(v1::Job::QUEUED);
  request.add_states(v1::Job::RUNNING);
  // All of them before the first is cancelled: a page's successor must not depend on what is cancelled meanwhile.
  BALLAST_ASSIGN_OR_RETURN(const v1::ListJobsResponse response,
                           ListPages(&v1::JobService::Stub::ListJobs, request, &v1::ListJobsResponse::mutable_jobs,
                                     /*limit=*/0, session, context));
  for (const v1::Job& job : response.jobs()) {
    if (job.cancel_requested()) continue;
    v1::CancelJobRequest cancel;
    cancel.set_job_id(job.job_id());
    BALLAST_RETURN_IF_ERROR(session.Call(&v1::JobService::Stub::CancelJob, cancel).status());
    context.err << fmt::format("cancelled job {}, which an earlier command left unfinished\n", job.job_id());
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Job> Submit(const v1::JobSpec& spec, Session& session) {
  v1::SubmitJobRequest request;
  *request.mutable_spec() = spec;
  request.set_submitter(session.CallerName());
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_request_id(), NewRequestId());
  v1::DeviceSelector* devices = request.mutable_spec()->mutable_devices();
  if (session.local() && !ChoosesDevices(*devices)) {
    // This machine, whatever else the history knows.
    devices->add_device_ids(session.local_device());
  }
  auto job = session.Call(&v1::JobService::Stub::SubmitJob, request);
  if (absl::IsUnavailable(job.status()) && !session.local() && session.Reconnect().ok()) {
    job = session.Call(&v1::JobService::Stub::SubmitJob, request);
  }
  if (job.ok()) return job;
  return ExplainRefusal(job.status(), request.spec());
}

std::filesystem::path ReportDirectory(const ResultFlags& flags) {
  return flags.output_directory.empty() ? kDefaultReportDirectory : flags.output_directory;
}

bool WantsFiles(const ResultFlags& flags) {
  return flags.save_report || !flags.output_directory.empty();
}

}  // namespace

void AddResultFlags(CLI::App* command, ResultFlags* flags) {
  AddOutputFlag(command, &flags->output);
  command->add_flag("--save-report", flags->save_report, "Write the report as JSON and CSV files")->group("Results");
  command
      ->add_option("--output-dir", flags->output_directory,
                   fmt::format("Where to write them (default {}); implies --save-report", kDefaultReportDirectory))
      ->type_name("DIR")
      ->group("Results");
  AddIncludeInvalidFlag(command, &flags->include_invalid);
  AddConnectionFlags(command, &flags->connection);
}

void AddSubmissionFlags(CLI::App* command, ResultFlags* flags) {
  AddEnvironmentFileFlag(command, &flags->environment_file)->group("Where");
  command->add_flag("--dry-run", flags->dry_run, "Print the job as YAML that submit accepts, and do nothing")
      ->group("Results");
  command->add_flag("--detach", flags->detach, "Submit to a fleet and leave; come back with watch")->group("Results");
  AddResultFlags(command, flags);
}

absl::Status ExplainRefusal(const absl::Status& status, const v1::JobSpec& spec) {
  const std::string_view message(status.message().data(), status.message().size());
  if (absl::IsFailedPrecondition(status)) {
    // As this coordinator says it; another one's words lead to the list of devices below.
    if (message.find("does not say which") != std::string_view::npos) {
      return WithNextStep(status, "choose with --device ID, --on LABEL=VALUE or --all");
    }
    constexpr std::string_view kResume = "ballast devices resume ";
    if (const std::size_t resume = message.find(kResume); resume != std::string_view::npos) {
      const std::size_t end = message.find_first_of(" ,;)", resume + kResume.size());
      return WithNextStep(status, message.substr(resume, end - resume));
    }
  }
  if (absl::IsInvalidArgument(status)) return WithNextStep(status, "mend the job and submit it again");
  const v1::Workload& workload = spec.workload();
  // Of what the job names, what may be missing.
  std::vector<std::string_view> lists;
  if (workload.has_command() && absl::IsFailedPrecondition(status)) {
    lists.emplace_back("name the command in the worker's configuration and start the worker again");
  }
  if (!spec.environment().empty() || !spec.matrix().environments().empty()) lists.emplace_back("ballast env list");
  if (!workload.has_pressure() && !workload.has_command()) lists.emplace_back("ballast models list");
  lists.emplace_back("ballast devices list");
  return WithNextStep(status, fmt::format("{}", fmt::join(lists, ", ")));
}

absl::StatusOr<ExitCode> RunJob(v1::JobSpec spec, const ResultFlags& flags, Context& context,
                                const v1::CommandDefinition* command) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(FillUsersEnvironment(flags.environment_file, context, &spec));
  if (flags.dry_run) {
    config::ApplyDefaults(&spec);
    if (output == OutputFormat::kJson) {
      PrintJson(spec, context);
    } else {
      context.out << config::WriteYaml(spec);
    }
    return ExitCode::kDone;
  }
  if (flags.detach) {
    if (WantsFiles(flags)) {
      return WithNextStep(absl::InvalidArgumentError("--detach leaves before there is a report to write"),
                          "leave out --save-report and --output-dir; `ballast report JOB` writes it later");
    }
    BALLAST_ASSIGN_OR_RETURN(const Target target, FindTarget(flags.connection, context));
    if (target.local()) {
      return WithNextStep(
          absl::InvalidArgumentError("--detach needs a coordinator that goes on when this command has ended; "
                                     "in local mode it ends with the command"),
          "leave out --detach, or give --coordinator ADDR");
    }
  }
  if (WantsFiles(flags)) BALLAST_RETURN_IF_ERROR(PrepareReportDirectory(ReportDirectory(flags)));

  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kRun));
  if (session->owner()) {
    BALLAST_RETURN_IF_ERROR(CancelLeftovers(*session, context));
    if (command != nullptr) session->OfferCommand(*command);
    BALLAST_RETURN_IF_ERROR(session->StartWorker());
  }
  BALLAST_ASSIGN_OR_RETURN(const v1::Job job, Submit(spec, *session));
  if (flags.detach) {
    if (output == OutputFormat::kJson) {
      PrintJson(job, context);
    } else if (output == OutputFormat::kCsv) {
      PrintRecords(std::vector<v1::Job>{job}, JobFields(), output, context);
    } else {
      context.out << job.job_id() << '\n';
      context.err << fmt::format("submitted {} with {} run{}; ballast watch {} follows it\n", job.job_id(),
                                 job.run_count(), job.run_count() == 1 ? "" : "s", job.job_id());
    }
    return ExitCode::kDone;
  }
  BALLAST_ASSIGN_OR_RETURN(const FollowedJob followed, FollowJob(job.job_id(), *session, context));
  return FinishJob(followed, flags, *session, context);
}

absl::StatusOr<ExitCode> FinishJob(const FollowedJob& followed, const ResultFlags& flags, Session& session,
                                   Context& context) {
  const std::string& job_id = followed.job.job_id();
  if (!followed.ended) {
    if (!session.owner()) {
      context.err << fmt::format("job {} goes on: ballast watch {} follows it, ballast jobs cancel {} ends it\n",
                                 job_id, job_id, job_id);
    }
    return ExitCode::kInterrupted;
  }
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  const v1::GetReportRequest scope = ReportScope({job_id}, flags.include_invalid);
  switch (output) {
    case OutputFormat::kTable:
      BALLAST_RETURN_IF_ERROR(PrintReportTable(scope, session, context));
      break;
    case OutputFormat::kJson:
      BALLAST_RETURN_IF_ERROR(PrintReport(scope, v1::ExportReportRequest::JSON, session, context));
      break;
    case OutputFormat::kCsv:
      BALLAST_RETURN_IF_ERROR(PrintReport(scope, v1::ExportReportRequest::CSV, session, context));
      break;
  }
  if (followed.job.spec().workload().has_command()) {
    BALLAST_RETURN_IF_ERROR(PrintFailedOutput(scope, session, context));
  }
  if (WantsFiles(flags)) {
    BALLAST_RETURN_IF_ERROR(WriteReportFiles(scope, {v1::ExportReportRequest::JSON, v1::ExportReportRequest::CSV},
                                             ReportDirectory(flags), job_id, session, context));
  }
  return followed.interrupted ? ExitCode::kInterrupted : ExitCodeOf(followed.job, followed.runs);
}

}  // namespace ballast::cli
