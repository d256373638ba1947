// Text from outside: checked, and quoted for messages.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ballast::base {

// The text in single quotes, fit for one line of a message: unsafe characters are escaped as EscapeUnsafe does
// (characters.h), and what goes beyond about 60 bytes is cut, with … in its place.
[[nodiscard]] std::string Quoted(std::string_view text);

// Position of the first byte that is not part of a valid UTF-8 character (overlong forms and surrogates are not valid);
// std::string_view::npos where all are.
[[nodiscard]] std::size_t FindInvalidUtf8(std::string_view text);

// The text with U+FFFD in the place of every byte that is not part of a valid UTF-8 character.
[[nodiscard]] std::string RepairUtf8(std::string_view text);

}  // namespace ballast::base
