#include "common/config/pattern.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "re2/re2.h"

namespace ballast::config {
namespace {

RE2::Options Quiet() {
  RE2::Options options;
  options.set_log_errors(false);
  return options;
}

}  // namespace

absl::Status CheckPattern(const std::string& pattern) {
  const RE2 expression(pattern, Quiet());
  if (expression.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} is no regular expression: {}", base::Quoted(pattern), expression.error()));
}

bool MatchesPattern(const std::string& pattern, std::string_view text) {
  const RE2 expression(pattern, Quiet());
  return expression.ok() && RE2::FullMatch(re2::StringPiece(text.data(), text.size()), expression);
}

}  // namespace ballast::config
