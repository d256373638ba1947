// ballast login: exchanges a join token for a certificate.
#include <unistd.h>

#include <array>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <memory>
#include <system_error>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/credentials.h"
#include "cli/error_text.h"
#include "cli/render/text_value.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/rpc/enrollment.h"
#include "common/tls/certificate.h"
#include "common/tls/identity.h"
#include "common/tls/join_token.h"

namespace ballast::cli {
namespace {

constexpr std::chrono::milliseconds kEnrollTimeout = std::chrono::seconds(10);
constexpr std::size_t kMaxNameBytes = 64;
// More than a key and two certificates have.
constexpr std::size_t kRoomBytes = 16U << 10U;

struct LoginFlags {
  std::string target;
  std::string name;
  bool replace = false;
};

// `anna@desk`, of what names may be made of.
std::string DefaultName(const Context& context) {
  std::array<char, 256> host{};
  (void)::gethostname(host.data(), host.size() - 1);
  std::string name = fmt::format("{}@{}", context.variable("USER").value_or("user"), host.data());
  for (char& c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte < 0x80 && (std::isalnum(byte) != 0 || c == '.' || c == '-' || c == '_' || c == '@');
    if (!plain) c = '-';
  }
  if (name.size() > kMaxNameBytes) name.resize(kMaxNameBytes);
  return name;
}

std::string NextStepAfter(const absl::Status& status, v1::Role role) {
  const std::string message(status.message());
  const auto says = [&message](const char* words) { return message.find(words) != std::string::npos; };
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return says("the name in a certificate") ? "give another --name" : "ballast login TOKEN@HOST:PORT";
    case absl::StatusCode::kAlreadyExists:
      return "give another --name, or ask for a token that is made with this one";
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return "check the address, and that ballast-coordinator runs there";
    case absl::StatusCode::kFailedPrecondition:
      return "check the address, or have that coordinator given certificates";
    case absl::StatusCode::kResourceExhausted:
      return "the same command after that time; the token was not looked at, and is as good as before";
    default:
      return fmt::format("ask an administrator for a token: ballast token create --role {}", tls::RoleText(role));
  }
}

// What came of enrolling, as codes of this program: a coordinator that gives no certificates gives no access, and has
// refused nothing that it could do.
absl::Status ExplainEnroll(const absl::Status& status, v1::Role role) {
  const std::string step = NextStepAfter(status, role);
  return WithNextStep(absl::IsFailedPrecondition(status) ? absl::UnavailableError(status.message()) : status, step);
}

// The certificate that is there may be all the access that somebody has: it makes room only when he says so.
absl::Status CheckReplaces(const std::filesystem::path& file, const tls::JoinToken& token, const std::string& name,
                           base::SystemTime now) {
  const absl::StatusOr<tls::Identity> held = tls::LoadIdentity(file);
  if (!held.ok() || now > held->facts.not_after) return absl::OkStatus();
  const absl::StatusOr<tls::CertificateFacts> authority = tls::ReadCertificate(held->authority_pem);
  if (!authority.ok() || authority->fingerprint != token.authority_fingerprint) return absl::OkStatus();
  if (held->facts.role == token.role && held->facts.name == name) return absl::OkStatus();
  return WithNextStep(
      absl::InvalidArgumentError(fmt::format(
          "you are logged in there as {} {}, and the token is for {} {}; the certificate would be replaced, and the "
          "token was not sent",
          tls::RoleText(held->facts.role), base::Quoted(held->facts.name), tls::RoleText(token.role),
          base::Quoted(name))),
      "--replace, or keep both: another XDG_CONFIG_HOME for this one");
}

// That a certificate can be kept in the directory, which is made where it is missing: tried, with as many bytes.
absl::Status CheckRoom(const std::filesystem::path& directory) {
  BALLAST_RETURN_IF_ERROR(base::EnsureWritableDirectory(directory, base::kPrivateDirectoryMode));
  const std::filesystem::path probe = directory / ".room";
  const absl::Status written = base::WriteFileAtomically(probe, std::string(kRoomBytes, '\n'), 0600);
  std::error_code ignored;
  std::filesystem::remove(probe, ignored);
  return written;
}

// A token is good once: what can be found out without it is found out before.
absl::StatusOr<tls::Identity> EnrollInto(const std::filesystem::path& file, const tls::JoinTarget& target,
                                         const std::string& name, v1::Role role) {
  std::error_code ignored;
  const bool existed = std::filesystem::exists(file.parent_path(), ignored);
  absl::Status status =
      base::WithContext(CheckRoom(file.parent_path()), "a certificate could not be kept, and the token was not sent");
  if (!status.ok()) {
    status = WithNextStep(
        status, absl::IsResourceExhausted(status)
                    ? "free space there, or set XDG_CONFIG_HOME to a directory that has some"
                    : "let this user write there, or set XDG_CONFIG_HOME to a directory that it may write in");
  } else {
    absl::StatusOr<tls::Identity> identity = rpc::Enroll(target, name, kEnrollTimeout);
    if (identity.ok()) return identity;
    status = ExplainEnroll(identity.status(), role);
  }
  if (!existed) std::filesystem::remove(file.parent_path(), ignored);
  return status;
}

absl::StatusOr<ExitCode> Login(const LoginFlags& flags, Context& context) {
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.target.empty(), "the join token", "ballast login TOKEN@HOST:PORT"));
  const auto target = tls::SplitJoinTarget(flags.target);
  if (!target.ok()) return WithNextStep(target.status(), "ballast login TOKEN@HOST:PORT");
  BALLAST_ASSIGN_OR_RETURN(const tls::JoinToken token, tls::ReadJoinToken(target->token));
  if (token.role == v1::WORKER) {
    return WithNextStep(absl::InvalidArgumentError("the join token is for a worker"),
                        "on the device: ballast-worker --join TOKEN@HOST:PORT");
  }
  BALLAST_ASSIGN_OR_RETURN(const std::filesystem::path file, IdentityFile(target->address, context));
  if (!flags.name.empty()) {
    if (const absl::Status valid = tls::CheckHolderName(token.role, flags.name); !valid.ok()) {
      return WithNextStep(base::WithContext(valid, "--name"), "--name anna; without it the name is USER@HOST");
    }
  }
  const std::string name = flags.name.empty() ? DefaultName(context) : flags.name;
  if (!flags.replace) {
    BALLAST_RETURN_IF_ERROR(CheckReplaces(file, token, token.name.empty() ? name : token.name, context.clock.Now()));
  }
  BALLAST_ASSIGN_OR_RETURN(const tls::Identity identity, EnrollInto(file, *target, name, token.role));
  if (const absl::Status saved = tls::SaveIdentity(file, identity); !saved.ok()) {
    return WithNextStep(
        base::WithContext(saved, "the certificate was made but could not be kept, and the token is used up"),
        fmt::format("mend that, then ask an administrator for a token: ballast token create --role {} --name {}",
                    tls::RoleText(identity.facts.role), identity.facts.name));
  }
  context.out << fmt::format(
      "logged in to {0} as {1} {2}, until {3}; the certificate is renewed by use\n"
      "try: ballast --coordinator {0} devices list   (or set BALLAST_COORDINATOR={0})\n",
      target->address, tls::RoleText(identity.facts.role), identity.facts.name,
      LocalTime(true, base::ToProto(identity.facts.not_after)));
  return ExitCode::kDone;
}

}  // namespace

void AddLoginCommand(CommandTree& tree) {
  const auto flags = std::make_shared<LoginFlags>();
  CLI::App* command = tree.Add(nullptr, "login", "Get a certificate for a coordinator, with a join token.",
                               {"ballast login TOKEN@lab.example.org:7850", "ballast login TOKEN@lab:7850 --name anna"},
                               [flags](Context& context) { return Login(*flags, context); });
  command->add_option("target", flags->target, "The token, and where it is valid: TOKEN@HOST:PORT")
      ->type_name("TOKEN@ADDR");
  command
      ->add_option("--name", flags->name,
                   "Name in the certificate (default USER@HOST); a token may name another, which stands then")
      ->type_name("NAME");
  command->add_flag("--replace", flags->replace, "Also where that gives up a certificate of another name or role");
}

}  // namespace ballast::cli
