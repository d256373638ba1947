// ballast submit: any job from a YAML file.
#include <memory>

#include "cli/commands.h"
#include "cli/device_flags.h"
#include "cli/job_file.h"
#include "cli/run_job.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct SubmitFlags {
  std::string file;
  std::vector<std::string> sets;
  DeviceFlags where;
  ResultFlags result;
};

absl::StatusOr<ExitCode> RunSubmit(const SubmitFlags& flags, Context& context) {
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.file.empty(), "the job file", "ballast submit job.yaml"));
  v1::JobSpec spec;
  BALLAST_RETURN_IF_ERROR(ReadJobFile(flags.file, flags.sets, &spec));
  v1::DeviceSelector chosen;
  BALLAST_RETURN_IF_ERROR(FillDevices(flags.where, &chosen));
  if (!flags.where.on.empty() || !flags.where.devices.empty() || flags.where.all) {
    if (flags.where.count.empty()) chosen.set_count(spec.devices().count());
    spec.mutable_devices()->Swap(&chosen);
  } else if (!flags.where.count.empty()) {
    spec.mutable_devices()->set_count(chosen.count());
  }
  return RunJob(std::move(spec), flags.result, context);
}

}  // namespace

void AddSubmitCommand(CommandTree& tree) {
  const auto flags = std::make_shared<SubmitFlags>();
  CLI::App* command =
      tree.Add(nullptr, "submit", "Run any job from a YAML file.",
               {"ballast submit configs/jobs/burst.yaml",
                "ballast submit job.yaml --set repetitions=5 --set workload.pressure.burst.target_percent=80",
                "ballast submit job.yaml --coordinator lab:7850 --detach"},
               [flags](Context& context) { return RunSubmit(*flags, context); });
  command->add_option("file", flags->file, "The job file")->type_name("FILE");
  command->add_option("--set", flags->sets, "Set one field of the job; may be repeated")
      ->type_name("FIELD=VALUE")
      ->allow_extra_args(false);
  // They stand before what the file says.
  AddDeviceFlags(command, &flags->where);
  AddSubmissionFlags(command, &flags->result);
}

}  // namespace ballast::cli
