// Tables as CSV.
#pragma once

#include <span>
#include <string>

namespace ballast::render {

// UTF-8's byte order mark: Excel shows Chinese only where a file begins with it.
inline constexpr char kUtf8ByteOrderMark[] = "\xEF\xBB\xBF";

// Appends one RFC 4180 record: fields quoted where they must be, CRLF at the end. Fields that a spreadsheet would take
// for a formula (beginning with = + - @ or a tab, and not a number) get a leading apostrophe. Characters that could
// lead a terminal astray (base::IsUnsafe) become `?`; tabs and line ends stay as they are. Thread-safe.
void AppendCsvRecord(std::span<const std::string> fields, std::string* out);

}  // namespace ballast::render
