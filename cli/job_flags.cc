#include "cli/job_flags.h"

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/key_value.h"
#include "common/base/status.h"
#include "common/config/field_text.h"
#include "common/config/job_rules.h"

namespace ballast::cli {
namespace {

absl::Status FillGuard(const JobFlags& flags, v1::JobSpec* spec) {
  if (spec->guard().mode() == v1::GuardSpec::OFF && !(flags.guard_floor.empty() && flags.guard_psi.empty())) {
    return WithNextStep(
        absl::InvalidArgumentError(fmt::format("{} says when the guard acts, but --until oom turns it off",
                                               flags.guard_floor.empty() ? "--guard-psi" : "--guard-floor")),
        "give one of them");
  }
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--guard-floor", "guard.min_available_percent", flags.guard_floor, "2%", spec));
  if (!flags.guard_floor.empty() && spec->guard().min_available_percent() == 0) {
    return WithNextStep(absl::InvalidArgumentError("--guard-floor: must be above 0%, not 0%"),
                        "--guard-floor 2%, or --until oom to turn the guard off");
  }
  return SetFromFlag("--guard-psi", "guard.max_psi_full_percent", flags.guard_psi, "40%", spec);
}

}  // namespace

void AddJobFlags(CLI::App* command, JobFlags* flags, const std::string& repeat) {
  const auto text = [command](const char* name, std::string* value, const char* type, const char* help,
                              const char* group) {
    command->add_option(name, *value, help)->type_name(type)->group(group);
  };
  AddDeviceFlags(command, &flags->where);
  text("--env", &flags->environment, "NAME", "Environment profile to run in", "Where");
  text("--name", &flags->name, "TEXT", "Name for people, shown in lists and reports", "Job");
  text(repeat.c_str(), &flags->repeat, "N", "Runs on each device (default 1)", "Job");
  text("--priority", &flags->priority, "N", "Higher ones start first, -1000 to 1000 (default 0)", "Job");
  text("--max-parallel", &flags->max_parallel, "N", "Most runs that go on at once (default: no bound)", "Job");
  text("--timeout", &flags->timeout, "TIME", "Longest time of a run (0 and default: three times its plan and 10m)",
       "Job");
  text("--sample-interval", &flags->sample_interval, "TIME", "Time between samples (default 100ms)", "Job");
  text("--settle", &flags->settle, "TIME", "Wait at most so long for a quiet device before the run (default 0)", "Job");
  text("--guard-floor", &flags->guard_floor, "PERCENT",
       "Available memory below which the guard acts, less than --floor (default: half of it, at most 2.5%)", "Guard");
  text("--guard-psi", &flags->guard_psi, "PERCENT",
       "Time in which all tasks wait for memory, above which the guard acts (default 40%)", "Guard");
  text("--expect", &flags->expect, "OUTCOME", "Outcome that counts as success (default COMPLETED)", "Job");
  command
      ->add_option("--annotate", flags->annotations,
                   "A word for later comparison, for instance build=1.4.2; may be repeated")
      ->type_name("KEY=VALUE")
      ->group("Job")
      ->allow_extra_args(false);
}

absl::Status SetFromFlag(const std::string& flag, const std::string& path, const std::string& text,
                         const std::string& example, v1::JobSpec* spec) {
  if (text.empty()) return absl::OkStatus();
  const absl::Status status = config::SetField(spec, path, text);
  if (status.ok()) return status;
  return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: {}", flag, std::string(status.message()))),
                      fmt::format("{} {}", flag, example));
}

absl::Status FillJob(const JobFlags& flags, v1::JobSpec* spec) {
  v1::DeviceSelector devices;
  BALLAST_RETURN_IF_ERROR(FillDevices(flags.where, &devices));
  if (ChoosesDevices(devices)) spec->mutable_devices()->Swap(&devices);
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--env", "environment", flags.environment, "NAME", spec));
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--name", "display_name", flags.name, "'a short name'", spec));
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--repeat", "repetitions", flags.repeat, "3", spec));
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--priority", "priority", flags.priority, "10", spec));
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--max-parallel", "max_parallel_runs", flags.max_parallel, "4", spec));
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--timeout", "policy.timeout", flags.timeout, "10m", spec));
  BALLAST_RETURN_IF_ERROR(
      SetFromFlag("--sample-interval", "telemetry.sample_interval", flags.sample_interval, "100ms", spec));
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--settle", "validity.settle", flags.settle, "2m", spec));
  BALLAST_RETURN_IF_ERROR(FillGuard(flags, spec));
  if (!flags.expect.empty()) {
    BALLAST_ASSIGN_OR_RETURN(const int outcome, ParseEnumName("--expect", flags.expect, *v1::OutcomeKind_descriptor()));
    spec->mutable_policy()->set_expect(static_cast<v1::OutcomeKind>(outcome));
  }
  BALLAST_ASSIGN_OR_RETURN(const auto annotations, ParsePairs("--annotate", flags.annotations, /*list=*/false));
  for (const auto& [key, value] : annotations) (*spec->mutable_annotations())[key] = value;
  return absl::OkStatus();
}

absl::Status CheckJob(const v1::JobSpec& spec, const std::string& command) {
  v1::JobSpec complete = spec;
  config::ApplyDefaults(&complete);
  const absl::Status status = config::Validate(complete);
  return status.ok() ? status : WithNextStep(status, fmt::format("ballast {} --help", command));
}

}  // namespace ballast::cli
