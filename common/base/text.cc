#include "common/base/text.h"

#include <cstdint>

#include <fmt/format.h>

namespace ballast::base {
namespace {

constexpr std::size_t kQuotedBytes = 60;

// Length of the valid UTF-8 character at the front of a text that is not empty, 0 where there is none.
std::size_t CharacterLength(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = byte(0);
  if (first < 0x80) return 1;
  // The second byte's range is narrower after some first bytes: that is what rules out overlong forms, surrogates and
  // what lies beyond U+10FFFF.
  std::size_t length = 0;
  std::uint8_t low = 0x80;
  std::uint8_t high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  }
  if (length == 0 || text.size() < length || byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return length;
}

}  // namespace

std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  while (!text.empty()) {
    if (quoted.size() > kQuotedBytes) {
      quoted += "…";
      break;
    }
    const std::size_t length = CharacterLength(text);
    const auto byte = static_cast<std::uint8_t>(text.front());
    if (text.front() == '\n') {
      quoted += "\\n";
    } else if (length == 0 || byte < 0x20 || byte == 0x7f) {
      quoted += fmt::format("\\x{:02x}", byte);
    } else if (length == 2 && byte == 0xc2 &&
               static_cast<std::uint8_t>(text[1]) < 0xa0) {  // U+0080…U+009F: control characters
      quoted += fmt::format("\\x{:02x}", static_cast<std::uint8_t>(text[1]));
    } else {
      quoted += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  quoted += "'";
  return quoted;
}

std::size_t FindInvalidUtf8(std::string_view text) {
  std::size_t position = 0;
  while (position < text.size()) {
    const std::size_t length = CharacterLength(text.substr(position));
    if (length == 0) return position;
    position += length;
  }
  return std::string_view::npos;
}

std::string RepairUtf8(std::string_view text) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  std::string repaired;
  repaired.reserve(text.size());
  while (true) {
    const std::size_t invalid = FindInvalidUtf8(text);
    repaired += text.substr(0, invalid);
    if (invalid == std::string_view::npos) return repaired;
    repaired += kReplacement;
    text.remove_prefix(invalid + 1);
  }
}

}  // namespace ballast::base
