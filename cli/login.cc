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
  if (absl::IsInvalidArgument(status)) return "give another --name";
  if (absl::IsAlreadyExists(status)) return "give another --name, or ask for a token that is made with this one";
  if (absl::IsUnavailable(status)) return "check the address, and that ballast-coordinator runs there";
  return fmt::format("ask an administrator for a token: ballast token create --role {}", tls::RoleText(role));
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
      absl::FailedPreconditionError(fmt::format(
          "you are logged in there as {} {}, and the token is for {} {}; the certificate would be replaced, and the "
          "token was not sent",
          tls::RoleText(held->facts.role), base::Quoted(held->facts.name), tls::RoleText(token.role),
          base::Quoted(name))),
      "--replace, or keep both: another XDG_CONFIG_HOME for this one");
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
  const std::string name = flags.name.empty() ? DefaultName(context) : flags.name;
  if (!flags.replace) {
    BALLAST_RETURN_IF_ERROR(CheckReplaces(file, token, token.name.empty() ? name : token.name, context.clock.Now()));
  }
  // Before the token is used up.
  std::error_code ignored;
  const bool existed = std::filesystem::exists(file.parent_path(), ignored);
  if (const absl::Status kept = base::EnsureWritableDirectory(file.parent_path(), base::kPrivateDirectoryMode);
      !kept.ok()) {
    return WithNextStep(kept, "let this user write there, or set XDG_CONFIG_HOME to a directory that it may write in");
  }
  const auto identity = rpc::Enroll(*target, name, kEnrollTimeout);
  if (!identity.ok()) {
    if (!existed) std::filesystem::remove(file.parent_path(), ignored);
    return WithNextStep(identity.status(), NextStepAfter(identity.status(), token.role));
  }
  BALLAST_RETURN_IF_ERROR(tls::SaveIdentity(file, *identity));
  context.out << fmt::format(
      "logged in to {0} as {1} {2}, until {3}; the certificate is renewed by use\n"
      "try: ballast --coordinator {0} devices list   (or set BALLAST_COORDINATOR={0})\n",
      target->address, tls::RoleText(identity->facts.role), identity->facts.name,
      LocalTime(true, base::ToProto(identity->facts.not_after)));
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
