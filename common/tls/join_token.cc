#include "common/tls/join_token.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/tls/certificate.h"
#include "common/tls/openssl.h"
#include "openssl/crypto.h"
#include "openssl/hmac.h"

namespace ballast::tls {
namespace {

constexpr std::string_view kPrefix = "bjt1";
constexpr std::size_t kIdBytes = 12;
constexpr std::size_t kMaxTokenBytes = 1024;

std::string Encode(std::string_view bytes) {
  return absl::WebSafeBase64Escape(std::string(bytes));
}

std::string Sign(std::string_view text, std::string_view secret) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> code{};
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), code.data(), &size);
  return {reinterpret_cast<const char*>(code.data()), size};
}

// A time as a whole number of `Unit` since the epoch.
template <typename Unit>
std::optional<base::SystemTime> ParseTime(std::string_view text) {
  constexpr std::int64_t kMax = std::chrono::floor<Unit>(std::chrono::nanoseconds::max()).count();
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 0 || count > kMax) return std::nullopt;
  return base::SystemTime(Unit(count));
}

}  // namespace

absl::StatusOr<std::string> MakeJoinToken(v1::Role role, const std::string& name, std::chrono::nanoseconds ttl,
                                          base::SystemTime now, const std::string& authority_fingerprint,
                                          std::string_view secret, const TokenMaker& maker) {
  if (RoleText(role).empty()) return absl::InvalidArgumentError("a token needs a role: worker, client or admin");
  if (!name.empty()) BALLAST_RETURN_IF_ERROR(CheckHolderName(role, name));
  if (ttl < std::chrono::seconds(1) || ttl > kMaxTokenTtl) {
    return absl::InvalidArgumentError(fmt::format("a token is valid for 1s to {}, not for {}",
                                                  base::FormatDuration(kMaxTokenTtl), base::DurationToText(ttl)));
  }
  BALLAST_ASSIGN_OR_RETURN(const std::string random, RandomBytes(kIdBytes));
  const std::int64_t expire_seconds = std::chrono::ceil<std::chrono::seconds>(now + ttl).time_since_epoch().count();
  const std::int64_t make_ms = std::chrono::floor<std::chrono::milliseconds>(now).time_since_epoch().count();
  const std::string content =
      fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}", RoleText(role), expire_seconds, Encode(random), authority_fingerprint,
                  name, make_ms, RoleText(maker.role), maker.name, maker.serial);
  const std::string text = fmt::format("{}.{}", kPrefix, Encode(content));
  return fmt::format("{}.{}", text, Encode(Sign(text, secret)));
}

absl::StatusOr<JoinToken> ReadJoinToken(std::string_view text) {
  const absl::Status none = absl::InvalidArgumentError(
      "this is no join token; `ballast-coordinator token --role …` and `ballast token create` make one");
  if (text.size() > kMaxTokenBytes) return none;
  const std::vector<std::string> parts = absl::StrSplit(std::string(text), '.');
  std::string content;
  if (parts.size() != 3 || parts[0] != kPrefix || !absl::WebSafeBase64Unescape(parts[1], &content)) return none;
  const std::vector<std::string> fields = absl::StrSplit(content, '|');
  if (fields.size() != 9) return none;
  JoinToken token;
  const absl::StatusOr<v1::Role> role = ParseRole(fields[0]);
  const auto expire_time = ParseTime<std::chrono::seconds>(fields[1]);
  const auto make_time = ParseTime<std::chrono::milliseconds>(fields[5]);
  if (!role.ok() || !expire_time || !make_time || fields[2].empty() || !base::IsSha256(fields[3])) return none;
  if (!fields[7].empty()) {
    const absl::StatusOr<v1::Role> maker_role = ParseRole(fields[6]);
    if (!maker_role.ok()) return none;
    token.maker = {.role = *maker_role, .name = fields[7], .serial = fields[8]};
  }
  token.role = *role;
  token.expire_time = *expire_time;
  token.make_time = *make_time;
  token.token_id = fields[2];
  token.authority_fingerprint = fields[3];
  token.name = fields[4];
  return token;
}

absl::StatusOr<JoinToken> CheckJoinToken(std::string_view text, std::string_view secret, base::SystemTime now) {
  const absl::StatusOr<JoinToken> token = ReadJoinToken(text);
  if (!token.ok()) return absl::UnauthenticatedError(token.status().message());
  const std::size_t dot = text.rfind('.');
  const std::string expected = Encode(Sign(text.substr(0, dot), secret));
  const std::string_view given = text.substr(dot + 1);
  if (given.size() != expected.size() || CRYPTO_memcmp(given.data(), expected.data(), expected.size()) != 0) {
    return absl::UnauthenticatedError(
        "this coordinator did not make the join token, or it was altered on its way; copy it whole, or ask for "
        "another");
  }
  if (now >= token->expire_time) {
    return absl::UnauthenticatedError(fmt::format("the join token expired on {:%Y-%m-%d %H:%M:%S} UTC; ask for another",
                                                  std::chrono::floor<std::chrono::seconds>(token->expire_time)));
  }
  return token;
}

absl::StatusOr<JoinTarget> SplitJoinTarget(std::string_view text) {
  const std::size_t at = text.rfind('@');
  if (at == std::string_view::npos || at == 0 || at + 1 == text.size()) {
    return absl::InvalidArgumentError("a join token is given with its coordinator's address: TOKEN@HOST:PORT");
  }
  BALLAST_RETURN_IF_ERROR(ReadJoinToken(text.substr(0, at)).status());
  return JoinTarget{std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
}

}  // namespace ballast::tls
