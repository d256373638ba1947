#include "cli/render/text_width.h"

#include <algorithm>
#include <array>

#include "common/base/characters.h"

namespace ballast::cli {
namespace {

using base::Character;
using base::FirstCharacter;

struct Range {
  char32_t first;
  char32_t last;
};

// Blocks of wide characters (East Asian Width W and F). Unassigned code points inside a block count as wide, as
// terminals do.
constexpr std::array<Range, 16> kWide = {{{0x1100, 0x115F},      // Hangul Jamo
                                          {0x231A, 0x231B},      // watch, hourglass
                                          {0x2E80, 0x303E},      // CJK radicals, punctuation
                                          {0x3041, 0x33FF},      // Kana, Bopomofo, CJK compatibility
                                          {0x3400, 0x4DBF},      // CJK extension A
                                          {0x4E00, 0x9FFF},      // CJK
                                          {0xA000, 0xA4CF},      // Yi
                                          {0xA960, 0xA97F},      // Hangul Jamo extended
                                          {0xAC00, 0xD7A3},      // Hangul
                                          {0xF900, 0xFAFF},      // CJK compatibility ideographs
                                          {0xFE30, 0xFE6F},      // CJK compatibility forms
                                          {0xFF00, 0xFF60},      // fullwidth forms
                                          {0xFFE0, 0xFFE6},      // fullwidth signs
                                          {0x1F300, 0x1F64F},    // pictographs, faces
                                          {0x1F680, 0x1F9FF},    // transport, supplemental symbols
                                          {0x20000, 0x3FFFD}}};  // CJK extensions B and later

constexpr std::array<Range, 8> kWithoutWidth = {{{0x0300, 0x036F},    // combining diacritics
                                                 {0x1AB0, 0x1AFF},    // more of them
                                                 {0x1DC0, 0x1DFF},    // and more
                                                 {0x200B, 0x200F},    // zero width space and joiners, direction marks
                                                 {0x20D0, 0x20FF},    // combining marks for symbols
                                                 {0xFE00, 0xFE0F},    // variation selectors
                                                 {0xFE20, 0xFE2F},    // combining half marks
                                                 {0xFEFF, 0xFEFF}}};  // byte order mark

template <std::size_t Size>
bool Contains(const std::array<Range, Size>& ranges, char32_t code) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [code](const Range& range) { return range.first <= code && code <= range.last; });
}

std::size_t WidthOf(const Character& character) {
  if (!character.valid) return 1;
  if (Contains(kWithoutWidth, character.code)) return 0;
  return Contains(kWide, character.code) ? 2 : 1;
}

}  // namespace

std::size_t DisplayWidth(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    width += WidthOf(character);
    text.remove_prefix(character.size);
  }
  return width;
}

std::string Truncate(std::string_view text, std::size_t columns) {
  if (DisplayWidth(text) <= columns) return std::string(text);
  if (columns == 0) return {};
  std::string kept;
  std::size_t width = 0;
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    width += WidthOf(character);
    if (width > columns - 1) break;
    kept += text.substr(0, character.size);
    text.remove_prefix(character.size);
  }
  return kept + "…";
}

std::string Printable(std::string_view text) {
  std::string printable;
  printable.reserve(text.size());
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    printable += base::IsUnsafe(character) ? std::string_view("?") : text.substr(0, character.size);
    text.remove_prefix(character.size);
  }
  return printable;
}

}  // namespace ballast::cli
