// Setting one field of a message from text, as people write it: for command-line flags and `--set`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace ballast::config {

// Sets the field at a dotted path (`workload.pressure.burst.target_percent`, `devices.device_ids` which appends,
// `annotations.build` where the rest of the path is the key, dots and all) from text in the field's own unit, and
// checks the field's rules. A group of fields is chosen, with its defaults, by the text `{}`. A member of a oneof takes
// the place of the one that was set. INVALID_ARGUMENT: not a value of the field's type, out of range; NOT_FOUND: no
// such field, with the nearest names. The message is unchanged then. The text of the status is a sentence without a
// subject ("must be above 0% and at most 100%, not 0%"): the caller names the flag or the path before it.
[[nodiscard]] absl::Status SetField(google::protobuf::Message* message, std::string_view path, std::string_view text);

// The names nearest to a mistyped one, best first, at most three; empty where nothing is near. Near is what a third of
// the letters edited makes equal, case aside, and what holds the name as whole words (`target` in `target_percent`).
[[nodiscard]] std::vector<std::string> NearestNames(std::string_view name, const std::vector<std::string>& candidates);

// `did you mean 'x'?` or `did you mean 'x', 'y' or 'z'?`; empty where nothing is near.
[[nodiscard]] std::string DidYouMean(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace ballast::config
