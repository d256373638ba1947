// The walk over a message that finds broken rules, with what the readers need to place them. Private to common/config.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config/field_rules.h"
#include "google/protobuf/message.h"

namespace ballast::config {

// A broken rule and the paths of all fields it rests on, the one to blame first. Whoever has already complained about
// one of them keeps quiet about this.
struct Finding {
  Violation violation;
  std::vector<std::string> involved;
};

// What FindViolations finds.
[[nodiscard]] std::vector<Finding> FindBrokenRules(const google::protobuf::Message& message);

// `parent.name`, or `name` in the outermost message.
[[nodiscard]] std::string JoinPath(std::string_view parent, std::string_view name);

}  // namespace ballast::config
