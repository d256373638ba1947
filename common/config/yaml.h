// YAML to messages and back, driven by protobuf descriptors alone: keys are field names, values are written in human
// units.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/config/field_rules.h"
#include "google/protobuf/message.h"

namespace ballast::config {

// Reads one YAML document into `message`, applies defaults and checks every rule. It is merged over what the message
// holds: groups of fields and maps entry by entry, a list and the choice in a oneof as a whole. An empty document is an
// empty message.
//
// INVALID_ARGUMENT lists every problem (from the hundredth on, only their number), one a line, as `FILE:LINE:COLUMN:
// problem`, columns counted in characters: a syntax error, unknown and repeated keys (with the nearest valid name),
// wrong types, values out of range, missing required fields, several members of one oneof. Refused as well: aliases,
// anchors and tags, nesting deeper than 64, a second document, more than 4 MiB or 200,000 values, text that is not
// UTF-8. `file_name` is only for messages. The message is unchanged then.
[[nodiscard]] absl::Status ReadYaml(std::string_view text, std::string_view file_name,
                                    google::protobuf::Message* message);

// The same for a file. NOT_FOUND and PERMISSION_DENIED name the file.
[[nodiscard]] absl::Status ReadYamlFile(const std::filesystem::path& path, google::protobuf::Message* message);

// As above, and checks rules that are not written beside the fields: `more_rules` is called with the message read, its
// defaults applied, and what it finds is reported at its place.
using MoreRules = std::function<std::vector<Violation>(const google::protobuf::Message&)>;
[[nodiscard]] absl::Status ReadYaml(std::string_view text, std::string_view file_name, const MoreRules& more_rules,
                                    google::protobuf::Message* message);
[[nodiscard]] absl::Status ReadYamlFile(const std::filesystem::path& path, const MoreRules& more_rules,
                                        google::protobuf::Message* message);

// As the first, then sets each `path=value` of `overrides` (--set; see SetField) before defaults and rules are applied. A
// problem with one of those is reported as `--set PATH=VALUE: problem`.
[[nodiscard]] absl::Status ReadYamlFile(const std::filesystem::path& path, const std::vector<std::string>& overrides,
                                        google::protobuf::Message* message);

// The message as YAML that ReadYaml reads back to the same message, where it breaks no rule and its numbers are finite.
// Fields that are not set are left out.
[[nodiscard]] std::string WriteYaml(const google::protobuf::Message& message);

}  // namespace ballast::config
