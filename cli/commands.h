// Every command of `ballast`. Each function adds one, with its flags and help, to the tree; its file has all there is
// to it.
#pragma once

#include "cli/command_tree.h"

namespace ballast::cli {

void AddSimpleCommand(CommandTree& tree);
void AddModelCommand(CommandTree& tree);
void AddQuantizationCommand(CommandTree& tree);
void AddStabilityCommand(CommandTree& tree);
void AddExecCommand(CommandTree& tree);
void AddSubmitCommand(CommandTree& tree);
void AddWatchCommand(CommandTree& tree);
void AddJobsCommands(CommandTree& tree);
void AddRunsCommands(CommandTree& tree);
void AddDevicesCommands(CommandTree& tree);
void AddReservationsCommands(CommandTree& tree);
void AddSchedulesCommands(CommandTree& tree);
void AddModelsCommands(CommandTree& tree);
void AddEnvCommands(CommandTree& tree);
void AddLoginCommand(CommandTree& tree);
void AddCertificatesCommands(CommandTree& tree);
void AddReportCommand(CommandTree& tree);
void AddCompareCommand(CommandTree& tree);
void AddAuditCommand(CommandTree& tree);
void AddVersionCommand(CommandTree& tree);

// The whole program: all of them, one command line (without the program's name), its exit code.
[[nodiscard]] ExitCode RunCommandLine(const std::vector<std::string>& arguments, Context& context);

}  // namespace ballast::cli
