#include "common/base/text.h"

#include "common/base/characters.h"

namespace ballast::base {
namespace {

constexpr std::size_t kQuotedBytes = 60;

}  // namespace

std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  while (!text.empty()) {
    if (quoted.size() > kQuotedBytes) {
      quoted += "…";
      break;
    }
    const std::size_t size = FirstCharacter(text).size;
    quoted += EscapeUnsafe(text.substr(0, size));
    text.remove_prefix(size);
  }
  quoted += "'";
  return quoted;
}

std::size_t FindInvalidUtf8(std::string_view text) {
  std::size_t position = 0;
  while (position < text.size()) {
    const Character character = FirstCharacter(text.substr(position));
    if (!character.valid) return position;
    position += character.size;
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
