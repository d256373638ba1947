// Join tokens: what somebody without a certificate shows once to get one.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "ballast/v1/security.pb.h"
#include "common/base/clock.h"

namespace ballast::tls {

// Who made a token over the network, by his certificate; all empty where it was made on the coordinator's own machine.
struct TokenMaker {
  v1::Role role = v1::ROLE_UNSPECIFIED;
  std::string name;
  std::string serial;
};

// What a token says. Self-contained: nothing of it is kept until it is used.
struct JoinToken {
  v1::Role role = v1::ROLE_UNSPECIFIED;
  std::string name;  // the only name it may be used for; empty: any
  base::SystemTime expire_time;
  base::SystemTime make_time;  // to a millisecond
  TokenMaker maker;
  std::string token_id;               // random; by it the second use is known
  std::string authority_fingerprint;  // of the authority whose coordinator takes it, as CertificateFacts has it
};

inline constexpr std::chrono::nanoseconds kDefaultTokenTtl = std::chrono::minutes(15);
inline constexpr std::chrono::nanoseconds kMaxTokenTtl = std::chrono::hours(7 * 24);

// A new token as text: letters, digits and `.`, `-`, `_`. `secret` is the coordinator's own; with it the token is
// signed (HMAC-SHA-256). INVALID_ARGUMENT: no role, a name that none may have, a ttl that is not above zero and at most
// seven days.
[[nodiscard]] absl::StatusOr<std::string> MakeJoinToken(v1::Role role, const std::string& name,
                                                        std::chrono::nanoseconds ttl, base::SystemTime now,
                                                        const std::string& authority_fingerprint,
                                                        std::string_view secret, const TokenMaker& maker = {});

// What the text says, unchecked: for whoever wants to use it. INVALID_ARGUMENT where it is no token.
[[nodiscard]] absl::StatusOr<JoinToken> ReadJoinToken(std::string_view text);

// What the text says, for whoever made it. UNAUTHENTICATED: it is none, altered, made with another secret, or expired.
[[nodiscard]] absl::StatusOr<JoinToken> CheckJoinToken(std::string_view text, std::string_view secret,
                                                       base::SystemTime now);

// A token and where it is valid: `TOKEN@HOST:PORT`.
struct JoinTarget {
  std::string token;
  std::string address;
};
// INVALID_ARGUMENT where it is not of this form; the message does not repeat the token, which is a secret.
[[nodiscard]] absl::StatusOr<JoinTarget> SplitJoinTarget(std::string_view text);

}  // namespace ballast::tls
