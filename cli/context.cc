#include "cli/context.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

namespace ballast::cli {

std::string UserName(const Context& context) {
  return context.variable("USER").value_or(context.variable("LOGNAME").value_or(""));
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
