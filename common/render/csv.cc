#include "common/render/csv.h"

#include <charconv>
#include <string_view>
#include <system_error>

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

void AppendField(std::string_view text, std::string* out) {
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
