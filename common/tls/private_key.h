// Private keys, and requests for certificates of them.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace ballast::tls {

// A new ECDSA key on P-256, as PKCS #8 in PEM. INTERNAL only.
[[nodiscard]] absl::StatusOr<std::string> MakePrivateKey();

// A PKCS #10 request in PEM, signed with the key. `name` is for people who look at it: whoever issues the certificate
// decides on the name in it. INVALID_ARGUMENT where the key is none.
[[nodiscard]] absl::StatusOr<std::string> MakeCertificateRequest(const std::string& private_key_pem,
                                                                 const std::string& name);

}  // namespace ballast::tls
