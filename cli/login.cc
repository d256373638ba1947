// ballast login: exchanges a join token for a certificate.
#include <unistd.h>

#include <array>
#include <cctype>
#include <chrono>
#include <memory>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/credentials.h"
#include "cli/error_text.h"
#include "cli/render/text_value.h"
#include "common/base/status.h"
#include "common/rpc/enrollment.h"
#include "common/tls/join_token.h"

namespace ballast::cli {
namespace {

constexpr std::chrono::milliseconds kEnrollTimeout = std::chrono::seconds(10);
constexpr std::size_t kMaxNameBytes = 64;

struct LoginFlags {
  std::string target;
  std::string name;
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

std::string NextStepAfter(const absl::Status& status) {
  if (absl::IsAlreadyExists(status)) return "give another --name";
  if (absl::IsUnavailable(status)) return "check the address, and that ballast-coordinator runs there";
  return "ask an administrator for a token: ballast token create --role client";
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
  const auto identity = rpc::Enroll(*target, flags.name.empty() ? DefaultName(context) : flags.name, kEnrollTimeout);
  if (!identity.ok()) return WithNextStep(identity.status(), NextStepAfter(identity.status()));
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
}

}  // namespace ballast::cli
