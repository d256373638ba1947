// Characters of text from outside: read one by one, and the one rule that says which of them are not for showing.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ballast::base {

// A character at the front of a text in UTF-8.
struct Character {
  char32_t code = 0;
  std::size_t size = 1;  // bytes
  bool valid = false;    // otherwise `size` is 1, and the byte is no UTF-8: also overlong forms, surrogates, cut off
};

// The first character of a text that is not empty. Thread-safe.
[[nodiscard]] Character FirstCharacter(std::string_view text);

// Whether a terminal that shows this character, or a reader of what it shows, can be led astray: bytes that are no
// UTF-8, control characters (U+0000…U+001F, U+007F…U+009F: escape sequences, line ends, tabs) and marks that turn the
// direction of what follows (U+202A…U+202E, U+2066…U+2069). What is shown, written or taken goes by this rule:
// tables, JSON, CSV, messages, the log, labels. Thread-safe.
[[nodiscard]] bool IsUnsafe(const Character& character);

// Whether any character of the text is. Thread-safe.
[[nodiscard]] bool HasUnsafeCharacters(std::string_view text);

// The text fit for one line: unsafe characters as \n, \x1b or \u202e, the others as they are. Thread-safe.
[[nodiscard]] std::string EscapeUnsafe(std::string_view text);

}  // namespace ballast::base
