#include "common/environment/shell_quote.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"

namespace ballast::profiles {
namespace {

bool IsAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// An equals sign means something in the first word alone (to cmd.exe also between words), which is no flag.
bool IsPlain(std::string_view word, std::string_view more) {
  const bool flag = word.starts_with('-');
  return !word.empty() && std::ranges::all_of(word, [more, flag](char c) {
    return IsAlphanumeric(c) || more.find(c) != std::string_view::npos || (c == '=' && flag);
  });
}

std::string QuoteForSh(std::string_view word) {
  if (IsPlain(word, "_@%+:,./-")) return std::string(word);
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

// The word in quotes, as the C runtime of the started program takes it apart: backslashes count only before a quote.
std::string QuoteForRuntime(std::string_view word) {
  std::string quoted = "\"";
  std::size_t backslashes = 0;
  for (const char c : word) {
    if (c == '\\') {
      ++backslashes;
      continue;
    }
    quoted.append(c == '"' ? 2 * backslashes + 1 : backslashes, '\\');
    backslashes = 0;
    quoted += c;
  }
  quoted.append(2 * backslashes, '\\');
  return quoted + "\"";
}

// Carets before everything that means something to cmd.exe, quotes included: it then is never inside of quotes, where
// a caret would be an ordinary character. Percent signs are looked at earlier than carets. In a file a doubled one is
// one; at the prompt nothing has this effect, but a caret in front becomes part of the name that is looked up, and what
// is not found stays.
std::string EscapeForCmd(std::string_view text, bool batch) {
  std::string escaped;
  for (const char c : text) {
    if (c == '%' && batch) {
      escaped += "%%";
      continue;
    }
    if (std::string_view("()%!^\"<>&|").find(c) != std::string_view::npos) escaped += '^';
    escaped += c;
  }
  return escaped;
}

}  // namespace

absl::StatusOr<Shell> ParseShell(std::string_view text) {
  if (text == "sh") return Shell::kSh;
  if (text == "cmd") return Shell::kCmd;
  if (text == "bat") return Shell::kBatch;
  return absl::InvalidArgumentError(fmt::format("{} is not sh, cmd or bat", base::Quoted(text)));
}

absl::StatusOr<std::string> QuoteWord(Shell shell, std::string_view word) {
  if (word.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(
        fmt::format("{} has a NUL byte, which no command line can hold", base::Quoted(word)));
  }
  if (shell == Shell::kSh) return QuoteForSh(word);
  if (word.find_first_of("\r\n") != std::string_view::npos) {
    return absl::InvalidArgumentError(fmt::format(
        "{} has a line end, which cmd.exe cannot pass on; leave it out, or write for sh", base::Quoted(word)));
  }
  if (IsPlain(word, "_@+:./-\\")) return std::string(word);
  return EscapeForCmd(QuoteForRuntime(word), shell == Shell::kBatch);
}

absl::StatusOr<std::string> QuoteCommand(Shell shell, std::span<const std::string> words) {
  std::string line;
  for (const std::string& word : words) {
    BALLAST_ASSIGN_OR_RETURN(const std::string quoted, QuoteWord(shell, word));
    if (!line.empty()) line += ' ';
    line += quoted;
  }
  return line;
}

}  // namespace ballast::profiles
