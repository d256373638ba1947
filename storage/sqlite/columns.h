// How fields of messages become columns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "fmt/format.h"
#include "google/protobuf/timestamp.pb.h"

namespace ballast::storage {

// Nanoseconds since 1970; what lies beyond the years 1677 to 2262 becomes the nearest that does not.
[[nodiscard]] inline std::int64_t ToColumn(const google::protobuf::Timestamp& time) {
  return base::FromProto(time).time_since_epoch().count();
}

// INVALID_ARGUMENT where SQLite has no such integer.
[[nodiscard]] inline absl::StatusOr<std::int64_t> ToColumn(std::uint64_t value) {
  if (value > static_cast<std::uint64_t>(INT64_MAX)) {
    return absl::InvalidArgumentError(fmt::format("{} is too large to be stored", value));
  }
  return static_cast<std::int64_t>(value);
}

// The message in a column; DATA_LOSS where the bytes are not one. `what` names it.
template <typename Message>
[[nodiscard]] absl::StatusOr<Message> ParseColumn(std::string_view bytes, std::string_view what) {
  Message message;
  if (bytes.size() > INT32_MAX || !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError(fmt::format("{} is damaged in the database; restore a copy of the file", what));
  }
  return message;
}

}  // namespace ballast::storage
