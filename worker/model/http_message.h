// The little of HTTP/1.1 that talking to a server on this machine takes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ballast::model {

// Largest answer that is taken.
inline constexpr std::size_t kMaxHttpBytes = 4U << 20U;

struct HttpResponse {
  int status = 0;
  std::string body;
};

// A request whose answer ends with the connection.
[[nodiscard]] std::string HttpRequestText(std::string_view method, std::string_view path, std::string_view json);

// The answer in the bytes that have arrived: nothing where it is not complete yet. `closed` says that no more will
// come: what has no length of its own ends there. INVALID_ARGUMENT for what is no answer, or cut short.
[[nodiscard]] absl::StatusOr<std::optional<HttpResponse>> ParseHttpResponse(std::string_view bytes, bool closed);

}  // namespace ballast::model
