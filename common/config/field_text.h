// Setting one field of a message from text, as people write it: for command-line flags and `--set`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace ballast::config {

// Sets the field at a dotted path (`workload.pressure.burst.target_percent`, `annotations.build`, `devices.device_ids` which appends) from text in the
// field's own unit, and checks the field's rules. INVALID_ARGUMENT: not a value of the field's type, out of range; NOT_FOUND: no such field, with the nearest names.
// The message does not name the flag: the caller does.
[[nodiscard]] absl::Status SetField(google::protobuf::Message* message, std::string_view path, std::string_view text);

// The names nearest to a mistyped one, best first, at most three; empty where nothing is near.
[[nodiscard]] std::vector<std::string> NearestNames(std::string_view name, const std::vector<std::string>& candidates);

// `did you mean 'x'?` or `did you mean 'x', 'y' or 'z'?`; empty where nothing is near.
[[nodiscard]] std::string DidYouMean(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace ballast::config
