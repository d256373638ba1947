#include "common/base/label.h"

#include <fmt/format.h>

#include "common/base/characters.h"
#include "common/base/text.h"

namespace ballast::base {
namespace {

constexpr std::size_t kMaxLabelBytes = 128;

constexpr std::string_view kNeverInLabels = "control character or mark that turns the direction of text";

}  // namespace

absl::Status CheckLabel(std::string_view key, std::string_view value) {
  if (key.empty() || key.size() > kMaxLabelBytes || key.find_first_of("=, ") != std::string_view::npos ||
      HasUnsafeCharacters(key)) {
    return absl::InvalidArgumentError(
        fmt::format("label {}: a key has 1 to {} bytes and no space, comma, equals sign, {}", Quoted(key),
                    kMaxLabelBytes, kNeverInLabels));
  }
  if (value.size() > kMaxLabelBytes || value.find(',') != std::string_view::npos || HasUnsafeCharacters(value)) {
    return absl::InvalidArgumentError(fmt::format("label {}: a value has at most {} bytes and no comma, {}",
                                                  Quoted(key), kMaxLabelBytes, kNeverInLabels));
  }
  return absl::OkStatus();
}

}  // namespace ballast::base
