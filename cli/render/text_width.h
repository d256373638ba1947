// How wide text is on a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ballast::cli {

// Columns that UTF-8 text takes: two for wide East Asian characters and emoji, none for combining marks. Bytes that are
// not UTF-8 count one each.
[[nodiscard]] std::size_t DisplayWidth(std::string_view text);

// The longest beginning of `text` that fits into `columns`, with `…` as its last character where something had to go.
[[nodiscard]] std::string Truncate(std::string_view text, std::size_t columns);

// Text from elsewhere, safe to show: unsafe characters (common/base/characters.h: escape sequences, line ends, marks
// that turn the direction, bytes that are not UTF-8) become `?`.
[[nodiscard]] std::string Printable(std::string_view text);

}  // namespace ballast::cli
