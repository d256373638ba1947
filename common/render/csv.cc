#include "common/render/csv.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string_view>
#include <system_error>

#include "common/base/characters.h"

namespace ballast::render {
namespace {

bool IsNumber(std::string_view text) {
  if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
  // from_chars takes `inf`, `nan` and a second minus too.
  if (text.empty() || !((text.front() >= '0' && text.front() <= '9') || text.front() == '.')) return false;
  double value = 0;
  const std::from_chars_result result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ptr == text.data() + text.size() && result.ec != std::errc::invalid_argument;
}

bool LooksLikeFormula(std::string_view text) {
  constexpr std::string_view kFormulaStarts = "=+-@\t\r";
  return !text.empty() && kFormulaStarts.find(text.front()) != std::string_view::npos && !IsNumber(text);
}

// The length of a line end or tab at the front, which a field may have; 0 where there is none. A carriage return on its
// own takes a terminal back to the beginning of the line.
std::size_t SpacingLength(std::string_view text) {
  if (text.starts_with("\r\n")) return 2;
  return text.starts_with('\n') || text.starts_with('\t') ? 1 : 0;
}

std::string SafeText(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    std::size_t length = SpacingLength(text);
    if (length == 0) {
      const base::Character character = base::FirstCharacter(text);
      length = character.size;
      safe += base::IsUnsafe(character) ? std::string_view("?") : text.substr(0, length);
    } else {
      safe += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return safe;
}

bool IsPlain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

void AppendField(std::string_view text, std::string* out) {
  // Nearly all are numbers and names, of which there are millions in a file.
  std::string safe;
  if (!IsPlain(text)) text = safe = SafeText(text);
  const bool formula = LooksLikeFormula(text);
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    if (formula) *out += '\'';
    *out += text;
    return;
  }
  *out += '"';
  if (formula) *out += '\'';
  for (const char c : text) {
    if (c == '"') *out += '"';
    *out += c;
  }
  *out += '"';
}

}  // namespace

void AppendCsvRecord(std::span<const std::string> fields, std::string* out) {
  // A record of one empty field would be an empty line, which readers skip.
  if (fields.size() == 1 && fields.front().empty()) *out += "\"\"";
  bool first = true;
  for (const std::string& field : fields) {
    if (!first) *out += ',';
    first = false;
    AppendField(field, out);
  }
  *out += "\r\n";
}

}  // namespace ballast::render
