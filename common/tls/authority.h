// A certificate authority of one coordinator.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/security.pb.h"
#include "common/base/clock.h"
#include "common/tls/certificate.h"

namespace ballast::tls {

// Digits of the serial numbers that authorities of this program give.
inline constexpr std::size_t kSerialDigits = 32;

// Issues certificates. Immutable; thread-safe. Holds the private key in memory.
class CertificateAuthority {
 public:
  // A new one, valid for twenty years: ECDSA on P-256. INTERNAL only.
  [[nodiscard]] static absl::StatusOr<CertificateAuthority> Create(base::SystemTime now);
  // INVALID_ARGUMENT where they are no certificate and key, or do not belong together.
  [[nodiscard]] static absl::StatusOr<CertificateAuthority> Load(std::string certificate_pem, std::string key_pem);

  [[nodiscard]] const std::string& certificate_pem() const { return certificate_pem_; }
  [[nodiscard]] const std::string& key_pem() const { return key_pem_; }
  // Of the authority's certificate: what join tokens carry.
  [[nodiscard]] const std::string& fingerprint() const { return facts_.fingerprint; }

  // A certificate for the key of a PKCS #10 request in PEM; nothing else of the request is used. It begins a little
  // earlier (five minutes, or half of a shorter lifetime), for clocks that are behind. INVALID_ARGUMENT: the request is
  // none, is not signed with its own key, or the key is weaker than RSA with 2048 bits; or the name is none.
  [[nodiscard]] absl::StatusOr<std::string> IssueClient(const std::string& request_pem, v1::Role role,
                                                        const std::string& name, base::SystemTime now,
                                                        std::chrono::nanoseconds lifetime) const;
  // A certificate for the coordinator itself, valid for kServerName and `names` (host names and addresses; whoever gets
  // them from outside checks them: CheckServerName).
  [[nodiscard]] absl::StatusOr<std::string> IssueServer(const std::string& request_pem,
                                                        const std::vector<std::string>& names, base::SystemTime now,
                                                        std::chrono::nanoseconds lifetime) const;

 private:
  CertificateAuthority(std::string certificate_pem, std::string key_pem, CertificateFacts facts)
      : certificate_pem_(std::move(certificate_pem)), key_pem_(std::move(key_pem)), facts_(std::move(facts)) {}

  std::string certificate_pem_;
  std::string key_pem_;
  CertificateFacts facts_;
};

}  // namespace ballast::tls
