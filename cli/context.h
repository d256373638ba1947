// What surrounds a command: streams, terminal, environment variables, time. Injected, so that a whole command line can
// run in a test.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <ostream>
#include <string>

#include "cli/interrupts.h"
#include "common/base/clock.h"

namespace ballast::cli {

// What is known of the two output streams.
struct Terminal {
  bool out_is_terminal = false;
  int out_columns = 80;      // meaningful where `out_is_terminal`
  bool err_is_live = false;  // standard error is a terminal that may be redrawn and coloured (NO_COLOR is not set)
  int err_columns = 80;      // meaningful where `err_is_live`, as is err_rows
  int err_rows = 24;
};

// Held by main for the whole command. The references must outlive it.
struct Context {
  std::ostream& out;  // carries only what was asked for
  std::ostream& err;  // errors, notes and progress
  Interrupts& interrupts;
  const base::Clock& clock;
  Terminal terminal;
  // The value of an environment variable; nothing where it is not set or empty.
  std::function<std::optional<std::string>(const std::string&)> variable;
  // Where this program lies: the other two are looked for beside it first.
  std::filesystem::path program_directory;
};

// Who uses this program: what the environment says (USER, LOGNAME), else the account of this process. Never empty.
[[nodiscard]] std::string UserName(const Context& context);

// The name of an account; `uid-N` where the system has no name for it. Never empty.
[[nodiscard]] std::string AccountName(uid_t uid);

// The process's own environment variables.
[[nodiscard]] std::optional<std::string> ProcessVariable(const std::string& name);

// Asks the kernel about file descriptors 1 and 2. `variable` as in Context, for NO_COLOR and TERM.
[[nodiscard]] Terminal DetectTerminal(const std::function<std::optional<std::string>(const std::string&)>& variable);

}  // namespace ballast::cli
