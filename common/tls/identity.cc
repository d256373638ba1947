#include "common/tls/identity.h"

#include <sys/stat.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"
#include "common/tls/openssl.h"
#include "openssl/err.h"

namespace ballast::tls {
namespace {

constexpr std::size_t kMaxFileBytes = 1U << 20U;
constexpr unsigned kOwnerOnly = 0600;

absl::StatusOr<std::string> KeyBlockOf(std::string_view content) {
  constexpr std::string_view kBegin = "-----BEGIN PRIVATE KEY-----";
  constexpr std::string_view kEnd = "-----END PRIVATE KEY-----";
  const std::size_t begin = content.find(kBegin);
  const std::size_t end = content.find(kEnd);
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) {
    return absl::InvalidArgumentError("there is no private key");
  }
  return std::string(content.substr(begin, end + kEnd.size() - begin)) + "\n";
}

absl::StatusOr<Identity> Parse(std::string_view content) {
  BALLAST_ASSIGN_OR_RETURN(std::string key, KeyBlockOf(content));
  const std::vector<std::string> certificates = SplitCertificates(content);
  if (certificates.size() != 2) {
    return absl::InvalidArgumentError(fmt::format("there are {} certificates instead of 2", certificates.size()));
  }
  return MakeIdentity(std::move(key), certificates[0], certificates[1]);
}

}  // namespace

absl::StatusOr<Identity> MakeIdentity(std::string private_key_pem, std::string certificate_pem,
                                      std::string authority_pem) {
  BALLAST_ASSIGN_OR_RETURN(const KeyPtr key, ParseKey(private_key_pem));
  BALLAST_ASSIGN_OR_RETURN(const CertificatePtr certificate, ParseCertificate(certificate_pem));
  const bool together = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!together) return absl::InvalidArgumentError("the certificate and the private key do not belong together");
  BALLAST_RETURN_IF_ERROR(CheckClientCertificate(certificate_pem, authority_pem));
  BALLAST_ASSIGN_OR_RETURN(CertificateFacts facts, ReadCertificate(certificate_pem));
  return Identity{std::move(private_key_pem), std::move(certificate_pem), std::move(authority_pem), std::move(facts)};
}

absl::Status MakePrivateDirectory(const std::filesystem::path& path) {
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error) return base::ErrnoStatus(error.value(), fmt::format("create directory {}", path.parent_path().string()));
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return base::ErrnoStatus(errno, fmt::format("create directory {}", path.string()));
}

absl::StatusOr<std::string> ReadPrivateFile(const std::filesystem::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) return base::ErrnoStatus(errno, fmt::format("open {}", file.string()));
  if ((info.st_mode & 077U) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("{} holds a private key, and others than its owner may read it (mode {:o}); chmod 600 {}, and "
                    "replace the certificate if somebody did",
                    file.string(), info.st_mode & 07777U, file.string()));
  }
  return base::ReadFile(file, kMaxFileBytes);
}

absl::StatusOr<Identity> LoadIdentity(const std::filesystem::path& file) {
  BALLAST_ASSIGN_OR_RETURN(const std::string content, ReadPrivateFile(file));
  absl::StatusOr<Identity> identity = Parse(content);
  if (identity.ok()) return identity;
  return absl::DataLossError(fmt::format("{} does not hold a key and its certificate ({}); remove it and join anew",
                                         file.string(), std::string(identity.status().message())));
}

absl::Status SaveIdentity(const std::filesystem::path& file, const Identity& identity) {
  BALLAST_RETURN_IF_ERROR(MakePrivateDirectory(file.parent_path()));
  return base::WriteFileAtomically(file, identity.private_key_pem + identity.certificate_pem + identity.authority_pem,
                                   kOwnerOnly);
}

}  // namespace ballast::tls
