// ballast version.
#include <memory>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/render/records.h"
#include "common/base/status.h"
#include "common/base/version.h"

namespace ballast::cli {

namespace {

absl::StatusOr<ExitCode> PrintVersion(const std::string& form, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(form));
  switch (output) {
    case OutputFormat::kTable:
      context.out << fmt::format("ballast {}\n", base::kVersion);
      break;
    case OutputFormat::kJson:
      context.out << fmt::format("{{\"version\": \"{}\"}}\n", base::kVersion);
      break;
    case OutputFormat::kCsv:
      context.out << fmt::format("version\r\n{}\r\n", base::kVersion);
      break;
  }
  return ExitCode::kDone;
}

}  // namespace

void AddVersionCommand(CommandTree& tree) {
  const auto form = std::make_shared<std::string>();
  CLI::App* command = tree.Add(nullptr, "version", "Print the version of this program.",
                               {"ballast version", "ballast version --output json"},
                               [form](Context& context) { return PrintVersion(*form, context); });
  AddOutputFlag(command, form.get());
}

}  // namespace ballast::cli
