#include "cli/paging.h"

#include <charconv>

#include "common/base/text.h"

namespace ballast::cli {

absl::StatusOr<std::uint32_t> ParseLimit(const std::string& text) {
  if (text.empty()) return kDefaultLimit;
  std::uint32_t limit = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (error == std::errc() && end == text.data() + text.size()) return limit;
  return WithNextStep(absl::InvalidArgumentError(fmt::format("--limit: {} is not a whole number", base::Quoted(text))),
                      "--limit 100, or 0 for all");
}

}  // namespace ballast::cli
