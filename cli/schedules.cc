// ballast schedules: put, list, show, pause, resume, delete.
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/job_file.h"
#include "cli/render/details.h"
#include "cli/render/list_fields.h"
#include "cli/run_job.h"
#include "cli/session.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/config/field_text.h"

namespace ballast::cli {
namespace {

constexpr char kFindSchedules[] = "ballast schedules list";

struct ScheduleFlags {
  ConnectionFlags connection;
  std::string output;
  std::string file;
  std::vector<std::string> sets;
  std::string name;
  std::string cron;
  std::string time_zone;
  std::string catch_up;
  bool allow_overlap = false;
  bool paused = false;
  std::string schedule_id;
};

absl::StatusOr<ExitCode> Print(const absl::StatusOr<v1::Schedule>& schedule, OutputFormat output, Context& context) {
  if (!schedule.ok()) return WithNextStep(schedule.status(), kFindSchedules);
  if (output == OutputFormat::kJson) {
    PrintJson(*schedule, context);
  } else {
    PrintRecords(std::vector<v1::Schedule>{*schedule}, ScheduleFields(), output, context);
  }
  return ExitCode::kDone;
}

// A refusal of what was put, with the next step: about the field that its message begins with, else about the job.
absl::Status ExplainPut(const absl::Status& status, const v1::Schedule& schedule) {
  constexpr std::pair<std::string_view, std::string_view> kSteps[] = {
      {"cron", "--cron '0 2 * * *' is every night at two; ballast schedules put --help"},
      {"time_zone", "--time-zone Europe/Berlin; without it times are those of UTC"},
      {"schedule_id", "--name nightly: small letters, digits and dashes"},
      {"catch_up", "--catch-up 6h, 30 days at most"},
  };
  const std::string message(status.message());
  for (const auto& [begin, step] : kSteps) {
    if (message.starts_with(begin)) return WithNextStep(status, step);
  }
  if (message.find("schedules already") != std::string::npos) {
    return WithNextStep(status, "ballast schedules delete NAME, for one that is not needed any more");
  }
  if (message.find("does not say which") != std::string::npos) {
    return WithNextStep(status, "say which in the job file, or with --set devices.all=true");
  }
  if (absl::IsInvalidArgument(status)) {
    return WithNextStep(status, "mend the job file and put it again; ballast schedules put --help");
  }
  return ExplainRefusal(status, schedule.job());
}

absl::StatusOr<ExitCode> Put(const ScheduleFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  constexpr char kExample[] = "ballast schedules put job.yaml --name nightly --cron '0 2 * * *'";
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.file.empty(), "the job file", kExample));
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.name.empty(), "--name", kExample));
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.cron.empty(), "--cron", kExample));
  v1::PutScheduleRequest request;
  v1::Schedule& schedule = *request.mutable_schedule();
  BALLAST_RETURN_IF_ERROR(ReadJobFile(flags.file, flags.sets, schedule.mutable_job()));
  schedule.set_schedule_id(flags.name);
  schedule.set_cron(flags.cron);
  schedule.set_time_zone(flags.time_zone);
  schedule.set_allow_overlap(flags.allow_overlap);
  schedule.set_paused(flags.paused);
  if (!flags.catch_up.empty()) {
    const auto catch_up = base::ParseDuration(flags.catch_up);
    if (!catch_up.ok()) {
      return WithNextStep(
          absl::InvalidArgumentError(fmt::format("--catch-up: {}", std::string(catch_up.status().message()))),
          "--catch-up 6h");
    }
    *schedule.mutable_catch_up() = base::ToProto(*catch_up);
  }
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  if (session->local()) {
    return WithNextStep(absl::InvalidArgumentError("in local mode no coordinator is there when the time comes"),
                        "--coordinator ADDR");
  }
  schedule.set_submitter(session->CallerName());
  const absl::StatusOr<v1::Schedule> put = session->Call(&v1::ScheduleService::Stub::PutSchedule, request);
  if (!put.ok()) return ExplainPut(put.status(), schedule);
  return Print(put, output, context);
}

absl::StatusOr<ExitCode> List(const ScheduleFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  BALLAST_ASSIGN_OR_RETURN(const v1::ListSchedulesResponse response,
                           session->Call(&v1::ScheduleService::Stub::ListSchedules, v1::ListSchedulesRequest()));
  if (output == OutputFormat::kJson) {
    PrintJson(response, context);
  } else {
    PrintRecords(response.schedules(), ScheduleFields(), output, context);
  }
  return ExitCode::kDone;
}

absl::Status RequireSchedule(const ScheduleFlags& flags, const char* verb) {
  return RequireArgument(!flags.schedule_id.empty(), "the schedule",
                         fmt::format("ballast schedules {} SCHEDULE; ballast schedules list shows them", verb));
}

// The schedule that was named.
absl::StatusOr<v1::Schedule> Find(const ScheduleFlags& flags, Session& session) {
  v1::ListSchedulesRequest request;
  request.set_schedule_id(flags.schedule_id);
  BALLAST_ASSIGN_OR_RETURN(const v1::ListSchedulesResponse response,
                           session.Call(&v1::ScheduleService::Stub::ListSchedules, request));
  if (!response.schedules().empty()) return response.schedules(0);
  BALLAST_ASSIGN_OR_RETURN(const v1::ListSchedulesResponse all,
                           session.Call(&v1::ScheduleService::Stub::ListSchedules, v1::ListSchedulesRequest()));
  std::vector<std::string> names;
  for (const v1::Schedule& schedule : all.schedules()) names.push_back(schedule.schedule_id());
  const std::string near = config::DidYouMean(flags.schedule_id, names);
  return WithNextStep(
      absl::NotFoundError(fmt::format("no schedule '{}'{}{}", flags.schedule_id, near.empty() ? "" : "; ", near)),
      kFindSchedules);
}

absl::StatusOr<ExitCode> Show(const ScheduleFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(RequireSchedule(flags, "show"));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  const absl::StatusOr<v1::Schedule> schedule = Find(flags, *session);
  if (!schedule.ok() || output != OutputFormat::kTable) return Print(schedule, output, context);
  context.out << ScheduleDetails(*schedule);
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Pause(const ScheduleFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(RequireSchedule(flags, "pause"));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  v1::PauseScheduleRequest request;
  request.set_schedule_id(flags.schedule_id);
  request.set_requester(session->CallerName());
  return Print(session->Call(&v1::ScheduleService::Stub::PauseSchedule, request), output, context);
}

absl::StatusOr<ExitCode> Resume(const ScheduleFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(RequireSchedule(flags, "resume"));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  v1::ResumeScheduleRequest request;
  request.set_schedule_id(flags.schedule_id);
  request.set_requester(session->CallerName());
  const absl::StatusOr<v1::Schedule> resumed = session->Call(&v1::ScheduleService::Stub::ResumeSchedule, request);
  if (resumed.ok()) return Print(resumed, output, context);
  // What is wrong may be the schedule's job.
  BALLAST_ASSIGN_OR_RETURN(const v1::Schedule schedule, Find(flags, *session));
  return ExplainPut(resumed.status(), schedule);
}

absl::StatusOr<ExitCode> Delete(const ScheduleFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(RequireSchedule(flags, "delete"));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  v1::DeleteScheduleRequest request;
  request.set_schedule_id(flags.schedule_id);
  request.set_requester(session->CallerName());
  return Print(session->Call(&v1::ScheduleService::Stub::DeleteSchedule, request), output, context);
}

}  // namespace

void AddSchedulesCommands(CommandTree& tree) {
  const auto flags = std::make_shared<ScheduleFlags>();
  CLI::App* group = tree.AddGroup(
      "schedules", "Jobs that the coordinator submits by the clock: put, list, show, pause, resume, delete.");
  const auto add = [&](const char* name, const char* description, const std::vector<std::string>& examples,
                       RunCommand run) {
    CLI::App* command = tree.Add(group, name, description, examples, std::move(run));
    AddOutputFlag(command, &flags->output);
    AddConnectionFlags(command, &flags->connection);
    return command;
  };
  const auto add_named = [&](const char* name, const char* description, RunCommand run) {
    CLI::App* command = add(name, description, {fmt::format("ballast schedules {} nightly", name)}, std::move(run));
    command->add_option("schedule", flags->schedule_id, "The schedule")->type_name("SCHEDULE");
  };
  CLI::App* put = add("put", "Make a schedule of a job file, or replace the one with its name.",
                      {"ballast schedules put configs/jobs/fleet.yaml --name nightly --cron '0 2 * * *'",
                       "ballast schedules put job.yaml --name weekly --cron '30 6 * * mon' --time-zone Europe/Berlin"},
                      [flags](Context& context) { return Put(*flags, context); });
  put->add_option("file", flags->file, "The job file")->type_name("FILE");
  put->add_option("--set", flags->sets, "Set one field of the job; may be repeated")
      ->type_name("FIELD=VALUE")
      ->allow_extra_args(false);
  put->add_option("--name", flags->name, "Its name: small letters, digits and dashes")->type_name("NAME");
  put->add_option("--cron", flags->cron,
                  "When: minute, hour, day of the month, month, day of the week, or @daily and the like")
      ->type_name("CRON");
  put->add_option("--time-zone", flags->time_zone, "Time zone of these times (default UTC)")->type_name("ZONE");
  put->add_option("--catch-up", flags->catch_up,
                  "Make up for a time that passed while the coordinator was away, if it is not longer ago (default 1h)")
      ->type_name("TIME");
  put->add_flag("--allow-overlap", flags->allow_overlap, "Submit also while the last job has not ended");
  put->add_flag("--paused", flags->paused, "Submit nothing until it is resumed");
  add("list", "Schedules, by name.", {"ballast schedules list"},
      [flags](Context& context) { return List(*flags, context); });
  add_named("show", "One schedule with its job.", [flags](Context& context) { return Show(*flags, context); });
  add_named("pause", "Submit nothing until it is resumed.",
            [flags](Context& context) { return Pause(*flags, context); });
  add_named("resume", "Submit again, from the next time on.",
            [flags](Context& context) { return Resume(*flags, context); });
  add_named("delete", "Forget a schedule; its jobs stay.",
            [flags](Context& context) { return Delete(*flags, context); });
}

}  // namespace ballast::cli
