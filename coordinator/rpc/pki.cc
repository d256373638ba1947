#include "coordinator/rpc/pki.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/tls/identity.h"
#include "common/tls/private_key.h"
#include "coordinator/rpc/next_step.h"

namespace ballast::coordinator {
namespace {

constexpr unsigned kOwnerOnly = 0600;
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kMaxPartBytes = 1U << 20U;
// Where the authority is made, to be moved into its place as a whole.
constexpr std::string_view kTemporaryName = ".pki.XXXXXX";
constexpr std::string_view kTemporaryPrefix = ".pki.";

std::filesystem::path DirectoryOf(const std::filesystem::path& data_dir) {
  return data_dir / "pki";
}

void AddMissing(const std::vector<std::string>& more, std::vector<std::string>* names) {
  for (const std::string& name : more) {
    if (std::ranges::find(*names, name) == names->end()) names->push_back(name);
  }
}

absl::Status WriteServerCertificate(const tls::CertificateAuthority& authority, const std::filesystem::path& file,
                                    const std::vector<std::string>& names, base::SystemTime now,
                                    std::chrono::nanoseconds lifetime) {
  BALLAST_ASSIGN_OR_RETURN(const std::string key, tls::MakePrivateKey());
  BALLAST_ASSIGN_OR_RETURN(const std::string request, tls::MakeCertificateRequest(key, tls::kServerName));
  BALLAST_ASSIGN_OR_RETURN(const std::string certificate, authority.IssueServer(request, names, now, lifetime));
  // One file, so that key and certificate are never of different ages. The authority's certificate goes out with the
  // handshake: whoever joins compares it with the token.
  return base::WriteFileAtomically(file, key + certificate + authority.certificate_pem(), kOwnerOnly);
}

absl::StatusOr<std::string> NewSecret() {
  std::string secret(kSecretBytes, '\0');
  if (::getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size())) {
    return base::ErrnoStatus(errno, "getrandom");
  }
  return secret;
}

absl::Status Fill(const std::filesystem::path& directory, const std::vector<std::string>& names, base::SystemTime now,
                  std::chrono::nanoseconds server_lifetime) {
  BALLAST_ASSIGN_OR_RETURN(const tls::CertificateAuthority authority, tls::CertificateAuthority::Create(now));
  BALLAST_ASSIGN_OR_RETURN(const std::string secret, NewSecret());
  BALLAST_RETURN_IF_ERROR(base::WriteFileAtomically(directory / "authority.key", authority.key_pem(), kOwnerOnly));
  BALLAST_RETURN_IF_ERROR(base::WriteFileAtomically(directory / "authority.pem", authority.certificate_pem()));
  BALLAST_RETURN_IF_ERROR(base::WriteFileAtomically(directory / "token.key", secret, kOwnerOnly));
  std::vector<std::string> all = OwnNames();
  AddMissing(names, &all);
  return WriteServerCertificate(authority, directory / "server.pem", all, now, server_lifetime);
}

// What reading a file of the directory came to, with what to do where it failed.
absl::StatusOr<std::string> PartOf(const std::filesystem::path& file, absl::StatusOr<std::string> content) {
  if (content.ok()) return content;
  if (absl::IsFailedPrecondition(content.status())) {
    return WithNextStep(content.status(),
                        fmt::format("chmod 600 {}; where somebody else may have read it, move {} away and make another "
                                    "with `ballast-coordinator init`: everybody joins anew then",
                                    file.string(), file.parent_path().string()));
  }
  if (!absl::IsNotFound(content.status())) {
    return WithNextStep(content.status(), "let this user read the files in DATA_DIR/pki, or run as their owner");
  }
  return WithNextStep(absl::DataLossError(fmt::format("{} is missing", file.string())),
                      "put a copy of the whole directory pki in its place; a new one means that everybody joins anew");
}

absl::StatusOr<std::string> ReadPart(const std::filesystem::path& file) {
  return PartOf(file, tls::ReadPrivateFile(file));
}

absl::StatusOr<std::string> ReadPublicPart(const std::filesystem::path& file) {
  return PartOf(file, base::ReadFile(file, kMaxPartBytes));
}

// Held while a directory is being made in the data directory; the kernel lets go of it, however that ends.
absl::StatusOr<base::Fd> LockForMaking(const std::filesystem::path& data_dir) {
  BALLAST_ASSIGN_OR_RETURN(base::Fd fd, base::OpenFile(data_dir, O_RDONLY | O_DIRECTORY));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  return base::ErrnoStatus(errno, fmt::format("lock {}", data_dir.string()));
}

bool IsLeftover(const std::filesystem::directory_entry& entry) {
  std::error_code error;
  const std::string name = entry.path().filename().string();
  return name.size() == kTemporaryName.size() && name.starts_with(kTemporaryPrefix) &&
         entry.symlink_status(error).type() == std::filesystem::file_type::directory;
}

// With the lock held, nobody is at work in what lies there.
void RemoveLeftoversLocked(const std::filesystem::path& data_dir) {
  std::error_code error;
  std::vector<std::filesystem::path> found;
  for (auto entry = std::filesystem::directory_iterator(data_dir, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (IsLeftover(*entry)) found.push_back(entry->path());
  }
  for (const std::filesystem::path& path : found) {
    if (std::filesystem::remove_all(path, error) > 0 && !error) {
      base::Log().info("removed {}, which an `init` that was cut off had left", path.string());
    }
  }
}

}  // namespace

bool Pki::Exists(const std::filesystem::path& data_dir) {
  std::error_code error;
  // What cannot be looked at counts as there: an error is better than plain text.
  return std::filesystem::exists(DirectoryOf(data_dir), error) || error;
}

absl::Status Pki::Create(const std::filesystem::path& data_dir, const std::vector<std::string>& names,
                         base::SystemTime now, std::chrono::nanoseconds server_lifetime) {
  const std::filesystem::path directory = DirectoryOf(data_dir);
  const absl::Status there =
      WithNextStep(absl::AlreadyExistsError(fmt::format(
                       "{} is there already; with another authority every worker and client would have to join anew",
                       directory.string())),
                   "use the one that is there, or move it away if that is what you want");
  if (Exists(data_dir)) return there;
  if (const absl::Status status = base::EnsureWritableDirectory(data_dir, base::kPrivateDirectoryMode); !status.ok()) {
    return OfDataDirectory(base::WithContext(status, "data directory"));
  }
  const absl::StatusOr<base::Fd> lock = LockForMaking(data_dir);
  if (absl::IsUnavailable(lock.status())) {
    return WithNextStep(absl::UnavailableError(fmt::format("another `init` is at work in {}", data_dir.string())),
                        "wait until it is through, and use what it makes");
  }
  // Where the file system has no locks, nothing is removed that another may be at work in.
  if (lock.ok()) RemoveLeftoversLocked(data_dir);
  std::string temporary = (data_dir / kTemporaryName).string();
  if (::mkdtemp(temporary.data()) == nullptr) {  // 0700
    return OfDataDirectory(base::ErrnoStatus(errno, fmt::format("create a directory in {}", data_dir.string())));
  }
  absl::Status status = OfDataDirectory(Fill(temporary, names, now, server_lifetime));
  // Does not replace a directory that somebody made meanwhile: none of these is empty.
  if (status.ok() && ::rename(temporary.c_str(), directory.c_str()) != 0) {
    status = errno == ENOTEMPTY || errno == EEXIST
                 ? there
                 : OfDataDirectory(base::ErrnoStatus(errno, fmt::format("create {}", directory.string())));
  }
  if (status.ok()) return OfDataDirectory(base::SyncDirectory(data_dir));
  std::error_code error;
  std::filesystem::remove_all(temporary, error);
  return status;
}

void Pki::RemoveLeftovers(const std::filesystem::path& data_dir) {
  if (const absl::StatusOr<base::Fd> lock = LockForMaking(data_dir); lock.ok()) RemoveLeftoversLocked(data_dir);
}

absl::StatusOr<Pki> Pki::Open(const std::filesystem::path& data_dir) {
  const std::filesystem::path directory = DirectoryOf(data_dir);
  if (!Exists(data_dir)) {
    return WithNextStep(absl::NotFoundError(fmt::format("there is no certificate authority in {}", data_dir.string())),
                        fmt::format("ballast-coordinator init --data-dir {}", data_dir.string()));
  }
  BALLAST_ASSIGN_OR_RETURN(std::string key, ReadPart(directory / "authority.key"));
  BALLAST_ASSIGN_OR_RETURN(std::string secret, ReadPart(directory / "token.key"));
  BALLAST_ASSIGN_OR_RETURN(std::string certificate, ReadPublicPart(directory / "authority.pem"));
  auto authority = tls::CertificateAuthority::Load(std::move(certificate), std::move(key));
  if (!authority.ok() || secret.size() < kSecretBytes) {
    return WithNextStep(absl::DataLossError(fmt::format(
                            "{} is damaged: {}", directory.string(),
                            authority.ok() ? "token.key is too short" : std::string(authority.status().message()))),
                        "put a copy of the whole directory pki in its place");
  }
  return Pki(directory, *std::move(authority), std::move(secret));
}

absl::StatusOr<tls::CertificateFacts> Pki::ServerCertificate() const {
  BALLAST_ASSIGN_OR_RETURN(const std::string content, ReadPart(server_file()));
  const std::vector<std::string> certificates = tls::SplitCertificates(content);
  if (!certificates.empty() && tls::CheckServerCertificate(certificates.front(), authority_.certificate_pem()).ok()) {
    return tls::ReadCertificate(certificates.front());
  }
  return absl::DataLossError(fmt::format("{} does not hold a certificate of this authority", server_file().string()));
}

bool Pki::ServerNeedsRenewal(const std::vector<std::string>& names, base::SystemTime now) const {
  const absl::StatusOr<tls::CertificateFacts> facts = ServerCertificate();
  if (!facts.ok() || now >= tls::RenewalTime(*facts)) return true;
  return !std::ranges::all_of(names, [&](const std::string& name) {
    return std::ranges::find(facts->server_names, name) != facts->server_names.end();
  });
}

absl::Status Pki::RenewServer(const std::vector<std::string>& names, base::SystemTime now,
                              std::chrono::nanoseconds lifetime) const {
  std::vector<std::string> all = OwnNames();
  if (const absl::StatusOr<tls::CertificateFacts> before = ServerCertificate(); before.ok()) {
    AddMissing(before->server_names, &all);
  }
  AddMissing(names, &all);
  return WriteServerCertificate(authority_, server_file(), all, now, lifetime);
}

std::vector<std::string> OwnNames() {
  std::vector<std::string> names = {"localhost", "127.0.0.1", "::1"};
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0 && host[0] != '\0') AddMissing({host.data()}, &names);
  ifaddrs* interfaces = nullptr;
  if (::getifaddrs(&interfaces) != 0) return names;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(interfaces, &::freeifaddrs);
  for (const ifaddrs* entry = interfaces; entry != nullptr; entry = entry->ifa_next) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0) continue;
    if (entry->ifa_addr->sa_family == AF_INET) {
      const auto* address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
      ::inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size());
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      const auto* address = reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr);
      if (IN6_IS_ADDR_LINKLOCAL(&address->sin6_addr)) continue;
      ::inet_ntop(AF_INET6, &address->sin6_addr, text.data(), text.size());
    }
    if (text[0] != '\0') AddMissing({text.data()}, &names);
  }
  return names;
}

}  // namespace ballast::coordinator
