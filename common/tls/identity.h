// What a worker or a client keeps of its own: key, certificate, and the authority that the other side is checked with.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tls/certificate.h"

namespace ballast::tls {

// All in PEM. Value type.
struct Identity {
  std::string private_key_pem;
  std::string certificate_pem;
  std::string authority_pem;
  CertificateFacts facts;  // of the certificate
};

// Checks that the three belong together. INVALID_ARGUMENT, UNAUTHENTICATED. The time is not looked at.
[[nodiscard]] absl::StatusOr<Identity> MakeIdentity(std::string private_key_pem, std::string certificate_pem,
                                                    std::string authority_pem);

// Reads what SaveIdentity wrote. NOT_FOUND where there is no file; FAILED_PRECONDITION where others may read it;
// DATA_LOSS where it does not hold an identity. Messages name the file and what to do.
[[nodiscard]] absl::StatusOr<Identity> LoadIdentity(const std::filesystem::path& file);

// Replaces the file, all in one, so that key and certificate never part; only its owner may read it (0600). Makes the
// directory (0700) where it is missing. Codes of base::WriteFileAtomically.
[[nodiscard]] absl::Status SaveIdentity(const std::filesystem::path& file, const Identity& identity);

// Makes a directory that only its owner may enter (0700), and its parents. Codes as in base::ErrnoStatus.
[[nodiscard]] absl::Status MakePrivateDirectory(const std::filesystem::path& path);

// The content of a file with a private key. As LoadIdentity.
[[nodiscard]] absl::StatusOr<std::string> ReadPrivateFile(const std::filesystem::path& file);

}  // namespace ballast::tls
