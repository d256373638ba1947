// Messages as JSON, for programs to read.
#pragma once

#include <string>

#include "google/protobuf/message.h"

namespace ballast::render {

struct JsonOptions {
  int indent_spaces = 2;  // 0: everything on one line
};

// The message as JSON: proto field names, 64-bit integers as numbers (protobuf's own mapping would quote them), enums by name, Duration as a number of seconds
// under the field's name with the suffix `_seconds`, Timestamp as RFC 3339 text in UTC, NaN and infinities as null, bytes as base64. Singular fields of
// scalar type without presence are always printed, so that readers need no defaults; unset messages, empty maps and empty lists are printed as null, {} and [].
// Fields in order of declaration: the same message gives the same bytes.
[[nodiscard]] std::string ToJson(const google::protobuf::Message& message, const JsonOptions& options = {});

}  // namespace ballast::render
