// Regular expressions that people write: patterns of fields, and of the parameters of commands.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace ballast::config {

// INVALID_ARGUMENT with the reason where `pattern` is no regular expression (RE2 syntax).
[[nodiscard]] absl::Status CheckPattern(const std::string& pattern);

// Whether the whole of `text` matches. False where the pattern is none.
[[nodiscard]] bool MatchesPattern(const std::string& pattern, std::string_view text);

}  // namespace ballast::config
