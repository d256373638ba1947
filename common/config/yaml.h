// YAML to messages and back, driven by protobuf descriptors alone: keys are field names, values are written in human units. The only user of yaml-cpp.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace ballast::config {

// Reads a YAML document into `message` (merged over what it holds), applies defaults and checks every rule. INVALID_ARGUMENT lists every problem, one a line, as
// `FILE:LINE:COLUMN: problem`: syntax errors, unknown and repeated keys (with the nearest valid name), wrong types, values out of range, missing required
// fields, several members of one oneof. `file_name` is only for messages. Aliases and tags are refused, as is nesting deeper than 64.
[[nodiscard]] absl::Status ReadYaml(std::string_view text, std::string_view file_name, google::protobuf::Message* message);

// The same for a file. NOT_FOUND and PERMISSION_DENIED name the file.
[[nodiscard]] absl::Status ReadYamlFile(const std::filesystem::path& path, google::protobuf::Message* message);

// As above, then sets each `path=value` of `overrides` (--set) before defaults and rules are applied; problems with one of those are reported as `--set PATH=VALUE: problem`.
[[nodiscard]] absl::Status ReadYamlFile(const std::filesystem::path& path, const std::vector<std::string>& overrides, google::protobuf::Message* message);

// The message as YAML that ReadYaml reads back to the same message. Fields that are not set are left out.
[[nodiscard]] std::string WriteYaml(const google::protobuf::Message& message);

}  // namespace ballast::config
