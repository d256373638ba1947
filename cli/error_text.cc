#include "cli/error_text.h"

#include <cctype>

#include <fmt/format.h>

#include "cli/render/text_width.h"

namespace ballast::cli {
namespace {

// Length of a place `FILE:LINE:COLUMN` that `line` begins with and that a colon follows; 0 where there is none.
std::size_t PlaceLength(std::string_view line) {
  // The file's name may hold colons: look for the first `:digits:digits: ` in the line.
  for (std::size_t colon = line.find(':'); colon != std::string_view::npos && colon > 0;
       colon = line.find(':', colon + 1)) {
    std::size_t at = colon;
    bool numbers = true;
    for (int part = 0; part < 2 && numbers; ++part) {
      const std::size_t first_digit = ++at;
      while (at < line.size() && std::isdigit(static_cast<unsigned char>(line[at])) != 0) ++at;
      numbers = at > first_digit && at < line.size() && line[at] == ':';
    }
    if (numbers && line.substr(at).starts_with(": ")) return at;
  }
  return 0;
}

}  // namespace

std::string FormatError(const absl::Status& status) {
  std::string text;
  const std::string message(status.message());
  std::string_view rest = message;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() == rest.size() ? line.size() : line.size() + 1);
    if (line.empty()) continue;
    const std::size_t place = PlaceLength(line);
    if (place == 0) {
      text += fmt::format("error: {}\n", Printable(line));
    } else {
      text += fmt::format("error: {}\n  at {}\n", Printable(line.substr(place + 2)), Printable(line.substr(0, place)));
    }
  }
  if (text.empty()) text = fmt::format("error: {}\n", absl::StatusCodeToString(status.code()));
  if (const auto detail = base::DetailOf(status)) {
    std::string_view lines = *detail;
    while (!lines.empty()) {
      const std::string_view line = lines.substr(0, lines.find('\n'));
      lines.remove_prefix(line.size() == lines.size() ? line.size() : line.size() + 1);
      text += fmt::format("  | {}\n", Printable(line));
    }
  }
  if (const auto next_step = base::NextStepOf(status)) text += fmt::format("  try: {}\n", Printable(*next_step));
  return text;
}

}  // namespace ballast::cli
