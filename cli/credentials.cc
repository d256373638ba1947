#include "cli/credentials.h"

#include <cctype>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "ballast/v1/config.pb.h"
#include "cli/error_text.h"
#include "cli/render/text_value.h"
#include "cli/target.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/config/yaml.h"
#include "common/rpc/channel.h"
#include "common/rpc/enrollment.h"

namespace ballast::cli {
namespace {

constexpr std::chrono::milliseconds kRenewalTimeout = std::chrono::seconds(5);

// The address as the name of a directory.
std::string DirectoryName(const std::string& address) {
  std::string name = address;
  for (char& c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-';
    if (!plain) c = '_';
  }
  return name;
}

}  // namespace

absl::StatusOr<std::filesystem::path> IdentityFile(const std::string& address, const Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const std::filesystem::path config_file, ConfigFile(context));
  v1::ClientConfig config;
  // A file that cannot be read is reported where it is needed (FindTarget).
  if (config::ReadYamlFile(config_file, &config).ok() && config.coordinator() == address &&
      !config.credentials().empty()) {
    return std::filesystem::path(config.credentials()) / "identity.pem";
  }
  return config_file.parent_path() / "credentials" / DirectoryName(address) / "identity.pem";
}

absl::StatusOr<std::optional<tls::Identity>> FindIdentity(const std::string& address, Context& context,
                                                          const std::function<void(const std::string&)>& warn) {
  if (rpc::IsUnixAddress(address)) return std::nullopt;
  const absl::StatusOr<std::filesystem::path> file = IdentityFile(address, context);
  if (!file.ok()) return std::nullopt;  // without a home there are no certificates either
  absl::StatusOr<tls::Identity> identity = tls::LoadIdentity(*file);
  if (absl::IsNotFound(identity.status())) return std::nullopt;
  const std::string login = fmt::format("ballast login TOKEN@{}", address);
  // Whatever is wrong with it, it gives no access.
  if (!identity.ok()) return WithNextStep(absl::UnauthenticatedError(identity.status().message()), login);
  const base::SystemTime now = context.clock.Now();
  if (const absl::Status time = tls::CheckTime(identity->facts, now); !time.ok() && now > identity->facts.not_after) {
    return WithNextStep(base::WithContext(time, fmt::format("the certificate for {} ({})", address, file->string())),
                        login + ", with a token that an administrator makes");
  }
  if (now < tls::RenewalTime(identity->facts)) return *std::move(identity);
  // Before the coordinator issues a certificate that nobody would have.
  absl::Status kept = base::EnsureWritableDirectory(file->parent_path(), base::kPrivateDirectoryMode);
  if (kept.ok()) {
    absl::StatusOr<tls::Identity> next = rpc::Renew(address, *identity, kRenewalTimeout);
    if (!next.ok()) return *std::move(identity);
    kept = tls::SaveIdentity(*file, *next);
    if (kept.ok()) return *std::move(next);
  }
  warn(fmt::format(
      "warning: the certificate for {} is due to be renewed, but the next one cannot be kept: {}; this one holds until "
      "{}\n  try: let this user write in {} by then, or {} with XDG_CONFIG_HOME set to another directory",
      address, std::string(kept.message()), LocalTime(true, base::ToProto(identity->facts.not_after)),
      file->parent_path().string(), login));
  return *std::move(identity);
}

}  // namespace ballast::cli
