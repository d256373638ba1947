#include "tests/bench/fleet_certificates.h"

#include <chrono>
#include <cstddef>

#include "common/base/file.h"
#include "common/base/status.h"
#include "common/tls/private_key.h"

namespace ballast::bench {
namespace {

constexpr std::size_t kMaxFileBytes = 1U << 20U;
constexpr std::chrono::hours kLifetime(24);

}  // namespace

absl::StatusOr<FleetCertificates> FleetCertificates::Open(const std::filesystem::path& pki) {
  BALLAST_ASSIGN_OR_RETURN(std::string certificate, base::ReadFile(pki / "authority.pem", kMaxFileBytes));
  BALLAST_ASSIGN_OR_RETURN(std::string authority_key, tls::ReadPrivateFile(pki / "authority.key"));
  BALLAST_ASSIGN_OR_RETURN(tls::CertificateAuthority authority,
                           tls::CertificateAuthority::Load(std::move(certificate), std::move(authority_key)));
  BALLAST_ASSIGN_OR_RETURN(std::string key, tls::MakePrivateKey());
  BALLAST_ASSIGN_OR_RETURN(std::string request, tls::MakeCertificateRequest(key, "load"));
  return FleetCertificates(std::move(authority), std::move(key), std::move(request));
}

absl::StatusOr<tls::Identity> FleetCertificates::Issue(v1::Role role, const std::string& name) const {
  BALLAST_ASSIGN_OR_RETURN(
      std::string certificate,
      authority_.IssueClient(request_pem_, role, name, std::chrono::system_clock::now(), kLifetime));
  return tls::MakeIdentity(key_pem_, std::move(certificate), authority_.certificate_pem());
}

}  // namespace ballast::bench
