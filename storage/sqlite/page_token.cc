#include "storage/sqlite/page_token.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "absl/strings/escaping.h"
#include "common/metrics/crc32c.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace ballast::storage {
namespace {

constexpr std::int32_t kDefaultPageSize = 50;
constexpr std::int32_t kMaxPageSize = 1000;

// What a token holds, before base64: CRC32C of the rest, conditions, time, identifier.
constexpr std::size_t kConditionsAt = 4;
constexpr std::size_t kTimeAt = 8;
constexpr std::size_t kIdAt = 16;

template <typename T>
void Append(std::string* bytes, T value) {
  bytes->append(static_cast<const char*>(static_cast<const void*>(&value)), sizeof(value));
}

template <typename T>
T Load(std::string_view bytes, std::size_t position) {
  T value;
  std::memcpy(&value, bytes.data() + position, sizeof(value));
  return value;
}

}  // namespace

absl::StatusOr<std::size_t> PageSize(std::int32_t asked) {
  if (asked < 0) return absl::InvalidArgumentError(fmt::format("page_size {} is negative", asked));
  return static_cast<std::size_t>(asked == 0 ? kDefaultPageSize : std::min(asked, kMaxPageSize));
}

std::uint32_t ConditionsOf(const google::protobuf::Message& request) {
  const std::unique_ptr<google::protobuf::Message> conditions(request.New());
  conditions->CopyFrom(request);
  for (const char* const field : {"page_size", "page_token"}) {
    conditions->GetReflection()->ClearField(conditions.get(), conditions->GetDescriptor()->FindFieldByName(field));
  }
  std::string bytes = conditions->GetDescriptor()->full_name();
  {
    google::protobuf::io::StringOutputStream stream(&bytes);  // appends
    google::protobuf::io::CodedOutputStream output(&stream);
    output.SetSerializationDeterministic(true);  // maps have no order of their own
    conditions->SerializeToCodedStream(&output);
  }
  return metrics::Crc32c(bytes);
}

std::string EncodePageToken(std::uint32_t conditions, const PageKey& key) {
  std::string content;
  Append(&content, conditions);
  Append(&content, key.time_ns);
  content += key.id;
  std::string bytes;
  Append(&bytes, metrics::Crc32c(content));
  bytes += content;
  return absl::WebSafeBase64Escape(bytes);
}

absl::StatusOr<std::optional<PageKey>> DecodePageToken(std::uint32_t conditions, std::string_view token) {
  if (token.empty()) return std::nullopt;
  std::string bytes;
  if (!absl::WebSafeBase64Unescape(std::string(token), &bytes) || bytes.size() <= kIdAt ||
      Load<std::uint32_t>(bytes, 0) != metrics::Crc32c(std::string_view(bytes).substr(kConditionsAt))) {
    return absl::InvalidArgumentError("page_token is not one that a list has returned; start from the first page");
  }
  if (Load<std::uint32_t>(bytes, kConditionsAt) != conditions) {
    return absl::InvalidArgumentError("page_token belongs to a list with other conditions; start from the first page");
  }
  return PageKey{.time_ns = Load<std::int64_t>(bytes, kTimeAt), .id = bytes.substr(kIdAt)};
}

}  // namespace ballast::storage
