#include "cli/render/records.h"

#include <fmt/format.h>

#include "cli/error_text.h"
#include "common/config/field_text.h"

namespace ballast::cli {

absl::StatusOr<OutputFormat> ParseOutputFormat(const std::string& text) {
  if (text.empty() || text == "table") return OutputFormat::kTable;
  if (text == "json") return OutputFormat::kJson;
  if (text == "csv") return OutputFormat::kCsv;
  const std::string near = config::DidYouMean(text, {"table", "json", "csv"});
  return WithNextStep(absl::InvalidArgumentError(fmt::format("--output: '{}' is not a form of output{}", text,
                                                             near.empty() ? "" : "; " + near)),
                      "--output table, --output json or --output csv");
}

}  // namespace ballast::cli
