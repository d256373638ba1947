// Flags that hold pairs and names.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/descriptor.h"

namespace ballast::cli {

// The parts between commas; empty parts are left out.
[[nodiscard]] std::vector<std::string> SplitList(std::string_view text);

// Pairs from texts such as `a=1,b=2` (several texts add up). INVALID_ARGUMENT names `flag`: no `=`, an empty key,
// nothing between two commas (with the place), or one key with two values. With `list` unset a text is one pair, and
// its value may hold commas.
[[nodiscard]] absl::StatusOr<std::map<std::string, std::string>> ParsePairs(const std::string& flag,
                                                                            const std::vector<std::string>& texts,
                                                                            bool list = true);

// The number of an enum's value from its name in either case. INVALID_ARGUMENT names `flag` and the nearest names.
[[nodiscard]] absl::StatusOr<int> ParseEnumName(const std::string& flag, const std::string& text,
                                                const google::protobuf::EnumDescriptor& type);

// In capitals, with `_` for `-`, `+` and `.` (`mmap+populate`, `llama.cpp`): the form of enum values' names.
[[nodiscard]] std::string EnumStyle(std::string_view text);

}  // namespace ballast::cli
