// ballast runs samples.
#pragma once

#include "cli/command_tree.h"

namespace ballast::cli {

// Adds the command below `runs`.
void AddRunSamplesCommand(CommandTree& tree, CLI::App* runs);

}  // namespace ballast::cli
