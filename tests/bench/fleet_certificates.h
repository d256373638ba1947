// Certificates of a simulated fleet.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "ballast/v1/security.pb.h"
#include "common/tls/authority.h"
#include "common/tls/identity.h"

namespace ballast::bench {

// Issues them itself with the key of a coordinator's authority, as joining 10,000 workers by tokens would take long.
// One private key serves all holders: what a handshake costs does not depend on whose key it is. Immutable;
// thread-safe.
class FleetCertificates {
 public:
  // `pki` is the directory of that name in the coordinator's data directory. Codes of the disk and of
  // CertificateAuthority::Load.
  [[nodiscard]] static absl::StatusOr<FleetCertificates> Open(const std::filesystem::path& pki);

  // Valid for a day. INVALID_ARGUMENT: nobody may have this name.
  [[nodiscard]] absl::StatusOr<tls::Identity> Issue(v1::Role role, const std::string& name) const;

 private:
  FleetCertificates(tls::CertificateAuthority authority, std::string key_pem, std::string request_pem)
      : authority_(std::move(authority)), key_pem_(std::move(key_pem)), request_pem_(std::move(request_pem)) {}

  tls::CertificateAuthority authority_;
  std::string key_pem_;
  std::string request_pem_;
};

}  // namespace ballast::bench
