// Which attempt of which run: the name under which a device keeps an attempt's records.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ballast::agent {

// Names one attempt. A value.
struct AttemptKey {
  std::string run_id;
  std::uint32_t attempt = 0;

  friend auto operator<=>(const AttemptKey&, const AttemptKey&) = default;
};

// Whether a run identifier from outside may become part of a file name: 1 to 128 letters, digits, dots, dashes and
// underscores, not beginning with a dot.
[[nodiscard]] bool IsUsableRunId(std::string_view run_id);

// `j-0123456789.1@2`, for logs and as a directory name; and back.
[[nodiscard]] std::string ToText(const AttemptKey& key);
[[nodiscard]] std::optional<AttemptKey> ParseAttemptKey(std::string_view text);

}  // namespace ballast::agent
