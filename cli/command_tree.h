// The commands of `ballast` as CLI11 knows them, and how one command line becomes one call.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/render/records.h"
#include "cli/target.h"

namespace ballast::cli {

// A command's work: prints results on `out`, and returns the exit code or an error that is printed for it.
using RunCommand = std::function<absl::StatusOr<ExitCode>(Context&)>;

// Owns the tree of commands. Add everything, then Execute once.
class CommandTree {
 public:
  CommandTree(std::string name, std::string description);

  // A command that has commands of its own (`jobs`).
  CLI::App* AddGroup(const std::string& name, const std::string& description);
  // The same, of commands that ask no coordinator.
  CLI::App* AddLocalGroup(const std::string& name, const std::string& description);

  // A command below `parent` (null: at the top). `examples` are lines shown by --help.
  CLI::App* Add(CLI::App* parent, const std::string& name, const std::string& description,
                const std::vector<std::string>& examples, RunCommand run);

  // What stands behind `--` on the line of this command is a command line of the user's own: it goes to
  // `*command_line`, as it is.
  void TakeCommandLine(const CLI::App* command, std::optional<std::vector<std::string>>* command_line);

  // Parses (`arguments` without the program's name), runs the command that was named, prints errors on `context.err`
  // and returns the exit code. Help goes to `context.out`.
  [[nodiscard]] ExitCode Execute(const std::vector<std::string>& arguments, Context& context);

 private:
  [[nodiscard]] absl::Status CheckExtras(const CLI::App& app) const;
  [[nodiscard]] absl::StatusOr<ExitCode> Dispatch(Context& context);
  [[nodiscard]] const CLI::App& Deepest() const;
  // Cuts what belongs to a command that takes a command line off the arguments.
  void CutCommandLine(std::vector<std::string>* arguments) const;

  CLI::App root_;
  // Where CLI11 puts what stands before the command's name; commands take it from the options themselves.
  ConnectionFlags before_command_;
  std::map<const CLI::App*, RunCommand> commands_;
  std::map<const CLI::App*, std::optional<std::vector<std::string>>*> command_lines_;
};

// The full name of a command for messages: `ballast jobs show`.
[[nodiscard]] std::string FullName(const CLI::App& app);

// --coordinator and --insecure, which may also stand before the command (the one after it counts where both do).
void AddConnectionFlags(CLI::App* command, ConnectionFlags* flags);

// --output; parse it with ParseOutputFormat.
void AddOutputFlag(CLI::App* command, std::string* text);

// Every use of a positional argument: INVALID_ARGUMENT when it was not given. `what` is its name in the help.
[[nodiscard]] absl::Status RequireArgument(bool given, const std::string& what, const std::string& example);

}  // namespace ballast::cli
