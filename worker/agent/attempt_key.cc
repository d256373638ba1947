#include "worker/agent/attempt_key.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include <fmt/format.h>

namespace ballast::agent {
namespace {

constexpr std::size_t kMaxRunIdLength = 128;

bool IsUsableCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_';
}

}  // namespace

bool IsUsableRunId(std::string_view run_id) {
  return !run_id.empty() && run_id.size() <= kMaxRunIdLength && run_id.front() != '.' &&
         std::ranges::all_of(run_id, IsUsableCharacter);
}

std::string ToText(const AttemptKey& key) {
  return fmt::format("{}@{}", key.run_id, key.attempt);
}

std::optional<AttemptKey> ParseAttemptKey(std::string_view text) {
  const std::size_t at = text.rfind('@');
  if (at == std::string_view::npos || !IsUsableRunId(text.substr(0, at))) return std::nullopt;
  const std::string_view number = text.substr(at + 1);
  std::uint32_t attempt = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), attempt);
  if (error != std::errc() || end != number.data() + number.size() || attempt == 0) return std::nullopt;
  return AttemptKey{std::string(text.substr(0, at)), attempt};
}

}  // namespace ballast::agent
