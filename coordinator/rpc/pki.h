// The coordinator's certificate authority, its own certificate and the secret of its join tokens: `DATA_DIR/pki`.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/tls/authority.h"

namespace ballast::coordinator {

// Holds the authority in memory; the coordinator's own certificate is in a file, so that it is replaced without a
// restart. Errors have their next step (NextStepOf). Thread-safe, but for RenewServer, which one thread calls at a
// time.
class Pki {
 public:
  // Whether there is one.
  [[nodiscard]] static bool Exists(const std::filesystem::path& data_dir);

  // Makes a new authority, a secret and the coordinator's certificate, valid for `names` beside what OwnNames finds.
  // All or nothing; only the owner may enter the directory. ALREADY_EXISTS where there is one: nothing is ever
  // overwritten. What an `init` that was cut off left is removed first. UNAVAILABLE where another is at work. Codes of
  // the disk.
  [[nodiscard]] static absl::Status Create(const std::filesystem::path& data_dir, const std::vector<std::string>& names,
                                           base::SystemTime now, std::chrono::nanoseconds server_lifetime);

  // Removes what a Create that was cut off left in the data directory, keys with it; nothing while one is at work.
  static void RemoveLeftovers(const std::filesystem::path& data_dir);

  // NOT_FOUND where there is none; DATA_LOSS where it is damaged; FAILED_PRECONDITION where others may read a key;
  // codes of the disk.
  [[nodiscard]] static absl::StatusOr<Pki> Open(const std::filesystem::path& data_dir);

  [[nodiscard]] const tls::CertificateAuthority& authority() const { return authority_; }
  [[nodiscard]] const std::string& token_secret() const { return token_secret_; }

  // The authority's certificate; the coordinator's key, its certificate and again the authority's, in one file.
  [[nodiscard]] std::filesystem::path authority_file() const { return directory_ / "authority.pem"; }
  [[nodiscard]] std::filesystem::path server_file() const { return directory_ / "server.pem"; }

  // The coordinator's own certificate. DATA_LOSS.
  [[nodiscard]] absl::StatusOr<tls::CertificateFacts> ServerCertificate() const;

  // Whether the coordinator's certificate is due for the next, or is not valid for all of `names`.
  [[nodiscard]] bool ServerNeedsRenewal(const std::vector<std::string>& names, base::SystemTime now) const;

  // Replaces it, with a new key: valid for what it was valid for, for `names`, and for what OwnNames finds now.
  [[nodiscard]] absl::Status RenewServer(const std::vector<std::string>& names, base::SystemTime now,
                                         std::chrono::nanoseconds lifetime) const;

 private:
  Pki(std::filesystem::path directory, tls::CertificateAuthority authority, std::string token_secret)
      : directory_(std::move(directory)), authority_(std::move(authority)), token_secret_(std::move(token_secret)) {}

  std::filesystem::path directory_;
  tls::CertificateAuthority authority_;
  std::string token_secret_;
};

// Names and addresses of this machine: localhost, its host name, the addresses of its interfaces but link-local ones.
[[nodiscard]] std::vector<std::string> OwnNames();

}  // namespace ballast::coordinator
