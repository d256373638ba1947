// Who makes a call.
#pragma once

#include <string>

#include "ballast/v1/security.pb.h"
#include "common/base/clock.h"
#include "common/tls/certificate.h"
#include "grpcpp/grpcpp.h"

namespace ballast::coordinator {

// What the connection tells of whoever calls.
struct Caller {
  bool authenticated = false;            // by a certificate of this coordinator's authority
  v1::Role role = v1::ROLE_UNSPECIFIED;  // of the certificate; unspecified without one
  std::string name;               // of the certificate: a device's identifier or a user's name; empty without one
  std::string serial;             // of the certificate, in lower-case hexadecimal digits; empty without one
  base::SystemTime issue_time{};  // of the certificate, to a second
  std::string peer;               // address of the connection, as gRPC writes it: `ipv4:10.0.0.7:40112`, `unix:`
};

// Who the holder of a certificate is, wherever he calls from.
[[nodiscard]] Caller HolderOf(const tls::CertificateFacts& facts);

// Thread-safe. Whether the certificate may be used at all (revoked, expired, wrong role) was decided before the call
// came to its service (AccessControl).
[[nodiscard]] Caller CallerOf(const grpc::ServerContextBase& context);

// The certificate that the other side showed in its handshake, in PEM: unchecked, but the key is its own. Empty where
// there is none.
[[nodiscard]] std::string CertificateOf(const grpc::AuthContext& context);

}  // namespace ballast::coordinator
