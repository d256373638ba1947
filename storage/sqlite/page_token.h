// Page sizes and page tokens of lists.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

namespace ballast::storage {

// Where a page ends: the key of its last item.
struct PageKey {
  std::int64_t time_ns = 0;  // zero in lists that are not ordered by time
  std::string id;

  friend bool operator==(const PageKey&, const PageKey&) = default;
};

// 50 for 0, at most 1000; INVALID_ARGUMENT below 0.
[[nodiscard]] absl::StatusOr<std::size_t> PageSize(std::int32_t asked);

// A figure of the request's type and all of its fields but page_size and page_token: what must stay the same from page
// to page.
[[nodiscard]] std::uint32_t ConditionsOf(const google::protobuf::Message& request);

// Text that means nothing to its readers and goes safely into any URL.
[[nodiscard]] std::string EncodePageToken(std::uint32_t conditions, const PageKey& key);

// Nothing for an empty token. INVALID_ARGUMENT for one that is damaged or from a list with other conditions.
[[nodiscard]] absl::StatusOr<std::optional<PageKey>> DecodePageToken(std::uint32_t conditions, std::string_view token);

}  // namespace ballast::storage
