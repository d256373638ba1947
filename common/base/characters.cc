#include "common/base/characters.h"

#include <array>
#include <cstdint>

#include <fmt/format.h>

namespace ballast::base {

Character FirstCharacter(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  std::size_t size = 0;
  char32_t code = 0;
  if ((lead & 0xE0U) == 0xC0) {
    size = 2;
    code = lead & 0x1FU;
  } else if ((lead & 0xF0U) == 0xE0) {
    size = 3;
    code = lead & 0x0FU;
  } else if ((lead & 0xF8U) == 0xF0) {
    size = 4;
    code = lead & 0x07U;
  } else {
    return {};
  }
  if (text.size() < size) return {};
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return {};
    code = (code << 6U) | (byte(i) & 0x3FU);
  }
  constexpr std::array<char32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kSmallest[size] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return {};
  return {code, size, true};
}

bool IsUnsafe(const Character& character) {
  const char32_t code = character.code;
  return !character.valid || code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x202A && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

bool HasUnsafeCharacters(std::string_view text) {
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    if (IsUnsafe(character)) return true;
    text.remove_prefix(character.size);
  }
  return false;
}

std::string EscapeUnsafe(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    if (!IsUnsafe(character)) {
      escaped += text.substr(0, character.size);
    } else if (text.front() == '\n') {
      escaped += "\\n";
    } else if (character.valid && character.code > 0xFF) {
      escaped += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(character.code));
    } else {
      const std::uint32_t code = character.valid ? character.code : static_cast<std::uint8_t>(text.front());
      escaped += fmt::format("\\x{:02x}", code);
    }
    text.remove_prefix(character.size);
  }
  return escaped;
}

}  // namespace ballast::base
