// Join tokens, certificates and their revocation: what the services of enrolment and administration do.
#pragma once

#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/admin_service.pb.h"
#include "ballast/v1/config.pb.h"
#include "ballast/v1/enrollment_service.pb.h"
#include "ballast/v1/security.pb.h"
#include "common/base/clock.h"
#include "common/tls/join_token.h"
#include "coordinator/rpc/access_control.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/pki.h"
#include "storage/store.h"

namespace ballast::coordinator {

// FAILED_PRECONDITION: what is said where there is no authority, and so no desk.
[[nodiscard]] absl::Status NoAuthority();

// What it is given outlives it. Everything that is told was committed before. Thread-safe; blocks on the disk.
class CertificateDesk {
 public:
  CertificateDesk(const Pki* pki, AccessControl* access, storage::Store* store, const base::Clock* clock,
                  const v1::CertificateConfig& lifetimes)
      : pki_(pki), access_(access), store_(store), clock_(clock), lifetimes_(lifetimes) {}

  // Refuses from now on what was revoked earlier. Before anybody may come in. Codes of the store.
  [[nodiscard]] absl::Status LoadRevoked();

  // As the calls of the services with these names say. A name is one holder's: a device's, or a person's whatever his
  // roles, so that nobody is taken for another by what he is called.
  [[nodiscard]] absl::StatusOr<v1::EnrollResponse> Enroll(const v1::EnrollRequest& request);
  [[nodiscard]] absl::StatusOr<v1::EnrollResponse> Renew(const v1::RenewRequest& request, const Caller& caller);
  [[nodiscard]] absl::StatusOr<v1::CreateJoinTokenResponse> CreateToken(const v1::CreateJoinTokenRequest& request,
                                                                        const Caller& caller);
  [[nodiscard]] absl::StatusOr<v1::RevokeCertificatesResponse> Revoke(const v1::RevokeCertificatesRequest& request,
                                                                      const Caller& caller);

 private:
  // Issues one and gives what is to be stored of it.
  [[nodiscard]] absl::StatusOr<v1::EnrollResponse> Issue(const std::string& request_pem, v1::Role role,
                                                         const std::string& name);
  // UNAUTHENTICATED where the certificates of whoever made the token were revoked after he made it.
  [[nodiscard]] absl::Status CheckMaker(const tls::JoinToken& token) const;
  // Every certificate that was ever issued to this name.
  [[nodiscard]] absl::StatusOr<std::vector<v1::Certificate>> CertificatesOf(const std::string& name);
  // What RevokeCertificates is about: certificates, and the roles of a name.
  struct Wanted {
    std::vector<v1::Certificate> certificates;
    std::set<v1::Role> roles;
  };
  [[nodiscard]] absl::StatusOr<Wanted> WantedOf(const v1::RevokeCertificatesRequest& request);
  [[nodiscard]] std::chrono::nanoseconds LifetimeOf(v1::Role role) const;

  const Pki* const pki_;
  AccessControl* const access_;
  storage::Store* const store_;
  const base::Clock* const clock_;
  const v1::CertificateConfig lifetimes_;
  // One change at a time: what was looked at stays so until it is stored.
  std::mutex mutex_;
};

}  // namespace ballast::coordinator
