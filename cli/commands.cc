#include "cli/commands.h"

namespace ballast::cli {

ExitCode RunCommandLine(const std::vector<std::string>& arguments, Context& context) {
  CommandTree tree("ballast",
                   "Puts memory under measured load, here or on a fleet of devices, and tells what survives.");
  AddSimpleCommand(tree);
  AddModelCommand(tree);
  AddQuantizationCommand(tree);
  AddStabilityCommand(tree);
  AddExecCommand(tree);
  AddSubmitCommand(tree);
  AddWatchCommand(tree);
  AddJobsCommands(tree);
  AddRunsCommands(tree);
  AddDevicesCommands(tree);
  AddReservationsCommands(tree);
  AddSchedulesCommands(tree);
  AddModelsCommands(tree);
  AddEnvCommands(tree);
  AddReportCommand(tree);
  AddCompareCommand(tree);
  AddAuditCommand(tree);
  AddLoginCommand(tree);
  AddCertificatesCommands(tree);
  AddVersionCommand(tree);
  return tree.Execute(arguments, context);
}

}  // namespace ballast::cli
