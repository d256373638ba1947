// ballast version.
#include <fmt/format.h>

#include "cli/commands.h"
#include "common/base/version.h"

namespace ballast::cli {

void AddVersionCommand(CommandTree& tree) {
  tree.Add(nullptr, "version", "Print the version of this program.", {"ballast version"},
           [](Context& context) -> absl::StatusOr<ExitCode> {
             context.out << fmt::format("ballast {}\n", base::kVersion);
             return ExitCode::kDone;
           });
}

}  // namespace ballast::cli
