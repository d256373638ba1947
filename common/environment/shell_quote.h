// Words of a command line, quoted for the shell that is to read them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ballast::profiles {

enum class Shell {
  kSh,     // POSIX shells
  kCmd,    // the prompt of Windows' cmd.exe
  kBatch,  // the same in a .bat file, where a percent sign is written in another way
};

// `sh`, `cmd` or `bat`. INVALID_ARGUMENT.
[[nodiscard]] absl::StatusOr<Shell> ParseShell(std::string_view text);

// One word so that the shell, and on Windows the started program's own splitting of its command line (the rules of
// Microsoft's C runtime), give back exactly these bytes. A word that needs no quotes stays as it is. INVALID_ARGUMENT
// for what cannot be written: a NUL byte, and for cmd.exe a line end.
[[nodiscard]] absl::StatusOr<std::string> QuoteWord(Shell shell, std::string_view word);

// Words joined by blanks.
[[nodiscard]] absl::StatusOr<std::string> QuoteCommand(Shell shell, std::span<const std::string> words);

}  // namespace ballast::profiles
