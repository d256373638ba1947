#include "cli/context.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

namespace ballast::cli {

std::string UserName(const Context& context) {
  for (const char* name : {"USER", "LOGNAME"}) {
    if (std::optional<std::string> user = context.variable(name)) return *std::move(user);
  }
  return AccountName(::geteuid());
}

std::string AccountName(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16384> text;  // what a system says is needed is a few hundred bytes
  if (::getpwuid_r(uid, &entry, text.data(), text.size(), &found) == 0 && found != nullptr && *found->pw_name != '\0') {
    return found->pw_name;
  }
  return fmt::format("uid-{}", uid);
}

std::optional<std::string> ProcessVariable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

Terminal DetectTerminal(const std::function<std::optional<std::string>(const std::string&)>& variable) {
  Terminal terminal;
  winsize size{};
  terminal.out_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  if (terminal.out_is_terminal && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.out_columns = size.ws_col;
  }
  const bool plain = variable("NO_COLOR").has_value() || variable("TERM").value_or("dumb") == "dumb";
  terminal.err_is_live = ::isatty(STDERR_FILENO) == 1 && !plain;
  if (terminal.err_is_live && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.err_columns = size.ws_col;
    terminal.err_rows = size.ws_row;
  }
  return terminal;
}

}  // namespace ballast::cli
