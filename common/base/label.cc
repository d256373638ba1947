#include "common/base/label.h"

#include <fmt/format.h>

#include "common/base/text.h"

namespace ballast::base {
namespace {

constexpr std::size_t kMaxLabelBytes = 128;

bool HasControlCharacters(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return true;
  }
  return false;
}

}  // namespace

absl::Status CheckLabel(std::string_view key, std::string_view value) {
  if (key.empty() || key.size() > kMaxLabelBytes || key.find_first_of("=, ") != std::string_view::npos ||
      HasControlCharacters(key)) {
    return absl::InvalidArgumentError(
        fmt::format("label {}: a key has 1 to {} bytes and no space, comma, equals sign or control character",
                    Quoted(key), kMaxLabelBytes));
  }
  if (value.size() > kMaxLabelBytes || value.find(',') != std::string_view::npos || HasControlCharacters(value)) {
    return absl::InvalidArgumentError(fmt::format(
        "label {}: a value has at most {} bytes and no comma or control character", Quoted(key), kMaxLabelBytes));
  }
  return absl::OkStatus();
}

}  // namespace ballast::base
