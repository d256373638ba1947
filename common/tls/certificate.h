// Certificates: what they say, and whether they hold.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/security.pb.h"
#include "common/base/clock.h"

namespace ballast::tls {

// The name that every coordinator's certificate has beside those of its machine, and that workers and clients look for:
// an authority issues such a certificate to its own coordinator alone, so that it holds whatever address leads there.
inline constexpr char kServerName[] = "ballast-coordinator";

// Certificates begin so much before they are issued, but not by more than half their life: clocks differ.
inline constexpr std::chrono::nanoseconds kClockTolerance = std::chrono::minutes(5);

// What a certificate says. Whether that is true, Check… tell.
struct CertificateFacts {
  std::string serial;                     // lower-case hexadecimal digits
  v1::Role role = v1::ROLE_UNSPECIFIED;   // of the holder; unspecified in those of coordinators and authorities
  std::string name;                       // of the holder: a device's identifier or a user's name; empty likewise
  std::vector<std::string> server_names;  // names and addresses it is valid for, in those of coordinators
  base::SystemTime not_before;
  base::SystemTime not_after;
  std::string fingerprint;  // SHA-256 of the whole, 64 lower-case hexadecimal digits
};

// The first certificate in the text. INVALID_ARGUMENT where there is none.
[[nodiscard]] absl::StatusOr<CertificateFacts> ReadCertificate(std::string_view pem);

// Every certificate in the text, in order, each in PEM of its own. Other blocks and words between them are left out.
[[nodiscard]] std::vector<std::string> SplitCertificates(std::string_view pem);

// Whether the authority issued the certificate to a worker, client or administrator. UNAUTHENTICATED: another did, or
// it is altered, or for a server. Its time is not looked at: CheckTime.
[[nodiscard]] absl::Status CheckClientCertificate(std::string_view pem, std::string_view authority_pem);
// The same for a coordinator's: it must be one, with kServerName in it. The message says whose it is instead, where
// this authority issued it to somebody else.
[[nodiscard]] absl::Status CheckServerCertificate(std::string_view pem, std::string_view authority_pem);

// UNAUTHENTICATED where it is past its end or before its beginning; the message has both times.
[[nodiscard]] absl::Status CheckTime(const CertificateFacts& facts, base::SystemTime now);

// When an authority of this program issued it, by the authority's clock, give or take a second.
[[nodiscard]] base::SystemTime IssueTime(const CertificateFacts& facts);

// When its holder should get the next: at two thirds of its validity.
[[nodiscard]] base::SystemTime RenewalTime(const CertificateFacts& facts);

// `worker`, `client`, `admin`; empty for other values. Back: INVALID_ARGUMENT names the three.
[[nodiscard]] std::string_view RoleText(v1::Role role);
[[nodiscard]] absl::StatusOr<v1::Role> ParseRole(std::string_view text);

// INVALID_ARGUMENT where it looks like a serial number, and unless it is 1 to 64 letters, digits and `.`, `_`, `-`, `+`
// or `@` (the last two not for workers, whose names are device identifiers).
[[nodiscard]] absl::Status CheckHolderName(v1::Role role, std::string_view name);

// INVALID_ARGUMENT unless it is an IPv4 or IPv6 address or a host name (RFC 1123: up to 253 letters, digits, dashes and
// dots; names in other alphabets as xn--…), so that a server's certificate can be valid for it.
[[nodiscard]] absl::Status CheckServerName(std::string_view name);

}  // namespace ballast::tls
