// The rules that proto/ballast/v1/options.proto writes beside fields, applied to messages: defaults and validation.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace ballast::config {

// One broken rule.
struct Violation {
  // `workload.pressure.burst.target_percent`; entries of lists as `quant_levels[1]`. Where no member of a oneof was
  // chosen, the oneof's name stands in the place of a field's: `workload.pressure.pattern`.
  std::string field_path;
  std::string problem;  // one sentence, names the value and what is accepted
};

// Fills in `default_text` wherever a field with presence (a message such as Duration, an `optional`), or a zero scalar
// or enum outside presence, was not given, in the message and in every sub-message that is set. Creates a sub-message
// other than Duration only where its `default_text` is `{}`, and chooses a member of a oneof only where that has a
// default and none was given. Whoever must tell a written zero from an absent one checks it before: the readers of YAML
// and of flags do.
void ApplyDefaults(google::protobuf::Message* message);

// Every broken rule, in order of declaration; empty when the message is valid. Call after ApplyDefaults.
[[nodiscard]] std::vector<Violation> FindViolations(const google::protobuf::Message& message);

// INVALID_ARGUMENT with every violation, one a line as `FIELD_PATH: PROBLEM`; OK where there are none.
[[nodiscard]] absl::Status Validate(const google::protobuf::Message& message);

}  // namespace ballast::config
