#include "coordinator/rpc/caller.h"

#include <vector>

#include "absl/status/statusor.h"
#include "grpc/grpc_security_constants.h"

namespace ballast::coordinator {

std::string CertificateOf(const grpc::AuthContext& context) {
  const std::vector<grpc::string_ref> found = context.FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  return found.empty() ? std::string() : std::string(found.front().data(), found.front().size());
}

Caller HolderOf(const tls::CertificateFacts& facts) {
  return {.authenticated = true,
          .role = facts.role,
          .name = facts.name,
          .serial = facts.serial,
          .issue_time = tls::IssueTime(facts),
          .peer = {}};
}

Caller CallerOf(const grpc::ServerContextBase& context) {
  const absl::StatusOr<tls::CertificateFacts> facts = tls::ReadCertificate(CertificateOf(*context.auth_context()));
  Caller caller = facts.ok() && facts->role != v1::ROLE_UNSPECIFIED ? HolderOf(*facts) : Caller{};
  caller.peer = context.peer();
  return caller;
}

}  // namespace ballast::coordinator
