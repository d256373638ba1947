#include "worker/model/http_message.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <system_error>

#include <fmt/format.h>

#include "common/base/text.h"

namespace ballast::model {
namespace {

constexpr std::string_view kLineEnd = "\r\n";

absl::Status Senseless(std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("no answer of a web server: {}", what));
}

template <typename Number>
std::optional<Number> ParseWhole(std::string_view text, int base) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string_view Trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// The value of a header; empty where there is none. `head` is what comes before the empty line.
std::string_view Header(std::string_view head, std::string_view name) {
  while (!head.empty()) {
    const std::size_t end = std::min(head.find(kLineEnd), head.size());
    const std::string_view line = head.substr(0, end);
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos && EqualsIgnoringCase(line.substr(0, colon), name)) {
      return Trimmed(line.substr(colon + 1));
    }
    head.remove_prefix(std::min(end + kLineEnd.size(), head.size()));
  }
  return {};
}

// A body in pieces, each with its size before it; nothing where it is not complete.
absl::StatusOr<std::optional<std::string>> JoinChunks(std::string_view bytes) {
  std::string body;
  while (true) {
    const std::size_t end = bytes.find(kLineEnd);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view line = bytes.substr(0, end);
    const auto size = ParseWhole<std::uint64_t>(Trimmed(line.substr(0, line.find(';'))), 16);
    if (!size || *size > kMaxHttpBytes) return Senseless("the size of a piece");
    bytes.remove_prefix(end + kLineEnd.size());
    if (*size == 0) return body;
    if (bytes.size() < *size + kLineEnd.size()) return std::nullopt;
    body += bytes.substr(0, *size);
    bytes.remove_prefix(*size + kLineEnd.size());
  }
}

}  // namespace

std::string HttpRequestText(std::string_view method, std::string_view path, std::string_view json) {
  return fmt::format(
      "{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: "
      "{}\r\n\r\n{}",
      method, path, json.size(), json);
}

absl::StatusOr<std::optional<HttpResponse>> ParseHttpResponse(std::string_view bytes, bool closed) {
  constexpr std::string_view kVersion = "HTTP/1.";
  constexpr std::size_t kStatusAt = 9;  // behind `HTTP/1.1 `
  if (bytes.size() > kMaxHttpBytes) return Senseless("it is too large");
  const std::string_view begin = bytes.substr(0, kVersion.size());
  if (begin != kVersion.substr(0, begin.size())) return Senseless(base::Quoted(bytes.substr(0, 80)));
  const std::size_t head_end = bytes.find("\r\n\r\n");
  if (head_end == std::string_view::npos) {
    if (closed) return Senseless("it ends in its head");
    return std::nullopt;
  }
  const std::string_view head = bytes.substr(0, head_end);
  const std::string_view rest = bytes.substr(head_end + 2 * kLineEnd.size());
  HttpResponse response;
  if (head.size() < kStatusAt + 3) return Senseless("it has no status");
  const auto status = ParseWhole<int>(head.substr(kStatusAt, 3), 10);
  if (!status) return Senseless("it has no status");
  response.status = *status;
  if (EqualsIgnoringCase(Header(head, "Transfer-Encoding"), "chunked")) {
    absl::StatusOr<std::optional<std::string>> body = JoinChunks(rest);
    if (!body.ok()) return body.status();
    if (*body) {
      response.body = **std::move(body);
      return response;
    }
  } else if (const std::string_view length = Header(head, "Content-Length"); !length.empty()) {
    const auto size = ParseWhole<std::uint64_t>(length, 10);
    if (!size || *size > kMaxHttpBytes) return Senseless("its length");
    if (rest.size() >= *size) {
      response.body = rest.substr(0, *size);
      return response;
    }
  } else if (closed) {
    response.body = rest;
    return response;
  }
  if (closed) return Senseless("it was cut short");
  return std::nullopt;
}

}  // namespace ballast::model
