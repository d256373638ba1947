#include "coordinator/rpc/caller.h"

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tls/certificate.h"
#include "grpc/grpc_security_constants.h"

namespace ballast::coordinator {

std::string CertificateOf(const grpc::AuthContext& context) {
  const std::vector<grpc::string_ref> found = context.FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  return found.empty() ? std::string() : std::string(found.front().data(), found.front().size());
}

Caller CallerOf(const grpc::ServerContextBase& context) {
  Caller caller;
  caller.peer = context.peer();
  absl::StatusOr<tls::CertificateFacts> facts = tls::ReadCertificate(CertificateOf(*context.auth_context()));
  if (!facts.ok() || facts->role == v1::ROLE_UNSPECIFIED) return caller;
  caller.authenticated = true;
  caller.role = facts->role;
  caller.name = std::move(facts->name);
  caller.serial = std::move(facts->serial);
  return caller;
}

}  // namespace ballast::coordinator
