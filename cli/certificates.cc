// ballast certificates: list, revoke; ballast token: create. For administrators.
#include <cctype>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/paging.h"
#include "cli/render/list_fields.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/tls/authority.h"
#include "common/tls/certificate.h"

namespace ballast::cli {
namespace {

struct CertificatesFlags {
  ConnectionFlags connection;
  std::string output;
  std::string limit;
  std::string name;
  std::string role;
  std::string which;
  std::string reason;
  bool even_unknown = false;
  std::string ttl;
};

template <typename Response>
absl::StatusOr<ExitCode> PrintCertificates(const Response& response, OutputFormat output, Context& context) {
  if (output == OutputFormat::kJson) {
    PrintJson(response, context);
  } else {
    PrintRecords(response.certificates(), CertificateFields(), output, context);
  }
  return ExitCode::kDone;
}

absl::StatusOr<v1::Role> RoleFlag(const std::string& text) {
  if (text.empty()) return v1::ROLE_UNSPECIFIED;
  absl::StatusOr<v1::Role> role = tls::ParseRole(text);
  if (role.ok()) return role;
  return WithNextStep(base::WithContext(role.status(), "--role"), "--role worker, --role client or --role admin");
}

absl::StatusOr<ExitCode> ListCertificates(const CertificatesFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const std::uint32_t limit, ParseLimit(flags.limit));
  v1::ListCertificatesRequest request;
  request.set_name(flags.name);
  BALLAST_ASSIGN_OR_RETURN(const v1::Role role, RoleFlag(flags.role));
  request.set_role(role);
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  BALLAST_ASSIGN_OR_RETURN(const v1::ListCertificatesResponse response,
                           ListPages(&v1::AdminService::Stub::ListCertificates, request,
                                     &v1::ListCertificatesResponse::mutable_certificates, limit, *session, context));
  return PrintCertificates(response, output, context);
}

// The serial number that the text is, in lower case and without colons, as other tools write it; empty where it is a
// name. Serial numbers have a length of their own, and no name looks like one (tls::CheckHolderName).
std::string SerialOf(const std::string& text) {
  std::string serial;
  for (const char c : text) {
    if (c == ':') continue;
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0) return {};
    serial += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return serial.size() == tls::kSerialDigits ? serial : std::string();
}

std::string NextStepAfterRevoking(const absl::Status& status) {
  const std::string message(status.message());
  if (message.starts_with("a reason ")) return "a shorter --reason";
  if (message.starts_with("reason ")) return "--reason in one line of plain text";
  if (message.starts_with("a serial number ")) return "ballast certificates revoke SERIAL, without --role";
  if (absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status)) {
    return "ballast certificates revoke NAME --role worker, --role client or --role admin";
  }
  return "ballast certificates list";
}

absl::StatusOr<ExitCode> RevokeCertificates(const CertificatesFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(!flags.which.empty(), "the name or the serial number",
                      "ballast certificates revoke NAME --reason lost; ballast certificates list shows them"));
  v1::RevokeCertificatesRequest request;
  if (const std::string serial = SerialOf(flags.which); !serial.empty()) {
    request.set_serial(serial);
  } else {
    request.set_name(flags.which);
  }
  request.set_reason(flags.reason);
  BALLAST_ASSIGN_OR_RETURN(const v1::Role role, RoleFlag(flags.role));
  request.set_role(role);
  request.set_even_unknown(flags.even_unknown);
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  const auto response = session->Call(&v1::AdminService::Stub::RevokeCertificates, request);
  if (!response.ok()) return WithNextStep(response.status(), NextStepAfterRevoking(response.status()));
  if (!request.name().empty()) {
    context.err << fmt::format("every certificate that {} was given until now is refused\n", flags.which);
  }
  return PrintCertificates(*response, output, context);
}

// With the next step where a token was refused: its time and its name may be wrong.
absl::Status ExplainCreate(const absl::Status& status) {
  if (!absl::IsInvalidArgument(status)) return status;
  const bool of_time = std::string(status.message()).starts_with("a token is valid ");
  return WithNextStep(status, of_time ? "--ttl 15m" : "another --name, such as --name anna or --name mini-3");
}

absl::StatusOr<ExitCode> CreateToken(const CertificatesFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.role.empty(), "--role", "ballast token create --role worker"));
  v1::CreateJoinTokenRequest request;
  BALLAST_ASSIGN_OR_RETURN(const v1::Role role, RoleFlag(flags.role));
  request.set_role(role);
  request.set_name(flags.name);
  if (!flags.ttl.empty()) {
    const auto ttl = base::ParseDuration(flags.ttl);
    if (!ttl.ok()) return WithNextStep(base::WithContext(ttl.status(), "--ttl"), "--ttl 15m");
    *request.mutable_ttl() = base::ToProto(*ttl);
  }
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  const auto response = session->Call(&v1::AdminService::Stub::CreateJoinToken, request);
  if (!response.ok()) return ExplainCreate(response.status());
  if (output == OutputFormat::kJson) {
    PrintJson(*response, context);
    return ExitCode::kDone;
  }
  context.out << response->token() << '\n';
  const std::string target = fmt::format("TOKEN@{}", session->address());
  context.err << (role == v1::WORKER ? fmt::format("on the device: ballast-worker --data-dir DIR --join {}\n", target)
                                     : fmt::format("at the user's desk: ballast login {}\n", target));
  return ExitCode::kDone;
}

}  // namespace

void AddCertificatesCommands(CommandTree& tree) {
  const auto flags = std::make_shared<CertificatesFlags>();
  const auto add = [&](CLI::App* group, const char* name, const char* description,
                       const std::vector<std::string>& examples, RunCommand run) {
    CLI::App* command = tree.Add(group, name, description, examples, std::move(run));
    AddOutputFlag(command, &flags->output);
    AddConnectionFlags(command, &flags->connection);
    return command;
  };
  CLI::App* certificates = tree.AddGroup("certificates", "Who may come in: list certificates, revoke them.");
  CLI::App* list = add(certificates, "list", "Certificates, latest first.",
                       {"ballast certificates list", "ballast certificates list --role worker --name mini-3"},
                       [flags](Context& context) { return ListCertificates(*flags, context); });
  list->add_option("--name", flags->name, "Only those of this name")->type_name("NAME");
  list->add_option("--role", flags->role, "Only those of this role: worker, client, admin")->type_name("ROLE");
  list->add_option("--limit", flags->limit, fmt::format("Most entries, 0 for all (default {})", kDefaultLimit))
      ->type_name("N");
  CLI::App* revoke = add(certificates, "revoke",
                         "Make every certificate of a name, or one by its serial number, unacceptable from now on.",
                         {"ballast certificates revoke mini-3 --reason 'sold'",
                          "ballast certificates revoke 5a0c41d2b93e7f6812ab34cd56ef7890",
                          "ballast certificates revoke mini-7 --role worker --even-unknown"},
                         [flags](Context& context) { return RevokeCertificates(*flags, context); });
  revoke->add_option("which", flags->which, "The name, or a serial number")->type_name("NAME|SERIAL");
  revoke->add_option("--reason", flags->reason, "Why, for people")->type_name("TEXT");
  revoke->add_option("--role", flags->role, "Only those of this role: worker, client, admin")->type_name("ROLE");
  revoke->add_flag("--even-unknown", flags->even_unknown,
                   "Also what the database does not know, as after it was restored from an older copy");

  CLI::App* token = tree.AddGroup("token", "Join tokens: make one.");
  CLI::App* create =
      add(token, "create", "Make a join token: good for one certificate.",
          {"ballast token create --role worker", "ballast token create --role client --name anna --ttl 1d"},
          [flags](Context& context) { return CreateToken(*flags, context); });
  create->add_option("--role", flags->role, "Role of the certificate: worker, client, admin")->type_name("ROLE");
  create
      ->add_option("--name", flags->name,
                   "The only name it may be used for (it takes that over); default any that nobody has had")
      ->type_name("NAME");
  create->add_option("--ttl", flags->ttl, "How long it is valid, at most 7d (default 15m)")->type_name("TIME");
}

}  // namespace ballast::cli
