// Messages as JSON, for programs to read.
#pragma once

#include <string>
#include <string_view>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace ballast::render {

struct JsonOptions {
  int indent_spaces = 2;  // 0: everything on one line
};

// The message as JSON, ending without a newline:
// - proto field names, in order of declaration; the same message gives the same bytes
// - 64-bit integers as numbers (protobuf's own mapping would quote them), floating-point numbers in the shortest form
// that reads back to the same
//   value, NaN and infinities as null
// - enums by name (unknown values as numbers), bytes as base64, map keys sorted
// - Duration as a number of seconds under the field's name with the suffix `_seconds`, Timestamp as RFC 3339 text in
// UTC
// - strings as valid UTF-8: bytes that are none are replaced by U+FFFD; characters that could lead a terminal astray
// (base::IsUnsafe) are escaped, which loses nothing
// - every field is printed, so that readers need no defaults: unset messages and optional fields as null, empty maps
// and lists as {} and [].
//   Only of a oneof nothing but the member that is set.
// Lists of numbers stand on one line, whatever the indentation. Thread-safe.
[[nodiscard]] std::string ToJson(const google::protobuf::Message& message, const JsonOptions& options = {});

// A text as a JSON string, with its quotes: escaped where JSON demands it and where a terminal could be led astray,
// bytes that are no UTF-8 replaced by U+FFFD. Thread-safe.
[[nodiscard]] std::string JsonString(std::string_view text);

// The key under which ToJson prints a field. Thread-safe.
[[nodiscard]] std::string JsonKey(const google::protobuf::FieldDescriptor& field);

}  // namespace ballast::render
