// JSON Schemas of messages, as common/render prints them.
#pragma once

#include <string>
#include <string_view>

#include "google/protobuf/descriptor.h"

namespace ballast::report {

// The JSON Schema (draft 2020-12) of what render::ToJson prints of such a message: every field that is printed is
// required, and nothing else is allowed. Comments of the proto files become descriptions where the descriptor's pool
// has source information. Ends with a newline.
[[nodiscard]] std::string MessageSchema(const google::protobuf::Descriptor& type, std::string_view id,
                                        std::string_view title);

}  // namespace ballast::report
