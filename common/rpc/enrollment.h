// How a worker or a client gets its certificate, and the next one.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tls/identity.h"
#include "common/tls/join_token.h"

namespace ballast::rpc {

// Exchanges a join token for an identity with a new key. The token leaves only once the server has shown the authority
// that the token names, and a certificate by it. `name` is asked for; a token may name another, which stands then.
// UNAUTHENTICATED: the server is another, or it does not take the token; UNAVAILABLE: nobody answers, or the host's
// name leads nowhere; FAILED_PRECONDITION: what answers speaks no TLS; INVALID_ARGUMENT: the address is none, or that
// of a unix socket; codes of EnrollmentService.Enroll, where RESOURCE_EXHAUSTED means too many tries: later the token
// is as good. Messages name the address; what another token would not mend has its next step (base::NextStepOf).
[[nodiscard]] absl::StatusOr<tls::Identity> Enroll(const tls::JoinTarget& target, const std::string& name,
                                                   std::chrono::milliseconds timeout);

// The next identity, with a new key, for one that is valid. Codes as above.
[[nodiscard]] absl::StatusOr<tls::Identity> Renew(const std::string& address, const tls::Identity& identity,
                                                  std::chrono::milliseconds timeout);

// Whether the coordinator takes this identity. UNAUTHENTICATED: it was revoked, say; UNAVAILABLE: nobody answers.
[[nodiscard]] absl::Status CheckAccepted(const std::string& address, const tls::Identity& identity,
                                         std::chrono::milliseconds timeout);

}  // namespace ballast::rpc
