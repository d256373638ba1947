#include "coordinator/rpc/access_commands.h"

#include <chrono>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/tls/certificate.h"
#include "common/tls/join_token.h"
#include "coordinator/rpc/next_step.h"
#include "coordinator/rpc/pki.h"

namespace ballast::coordinator {

absl::StatusOr<std::string> InitAuthority(const CoordinatorCommand& command) {
  const v1::CoordinatorConfig& config = command.config;
  for (const std::string& name : command.server_names) {
    if (const absl::Status status = tls::CheckServerName(name); !status.ok()) {
      return WithNextStep(
          base::WithContext(status, "--server-name"),
          "give the name or address that devices and users connect to, as in --server-name lab.example.org");
    }
  }
  std::vector<std::string> names(config.server_names().begin(), config.server_names().end());
  names.insert(names.end(), command.server_names.begin(), command.server_names.end());
  BALLAST_RETURN_IF_ERROR(Pki::Create(config.data_dir(), names, base::RealClock().Now(),
                                      base::FromProto(config.certificates().server_lifetime())));
  BALLAST_ASSIGN_OR_RETURN(const Pki pki, Pki::Open(config.data_dir()));
  return fmt::format(
      "certificate authority made in {0}/pki (fingerprint {1})\n"
      "Keep a copy of that directory where nobody else can read it: without it everybody has to join anew.\n"
      "Next:\n"
      "  ballast-coordinator --data-dir {0} --listen 0.0.0.0:7850      (again, where it runs already)\n"
      "  ballast-coordinator token --data-dir {0} --role admin         then, at your desk: ballast login "
      "TOKEN@HOST:7850\n"
      "  ballast-coordinator token --data-dir {0} --role worker        then, on a device: ballast-worker --data-dir "
      "DIR "
      "--join TOKEN@HOST:7850\n",
      config.data_dir(), pki.authority().fingerprint());
}

absl::StatusOr<std::string> MakeToken(const CoordinatorCommand& command) {
  const auto bad = [](const absl::Status& status) {
    return WithNextStep(absl::InvalidArgumentError(status.message()), "ballast-coordinator token --help");
  };
  if (command.role.empty()) {
    return WithNextStep(
        absl::InvalidArgumentError("for whom is the token? --role is missing"),
        "--role worker for a device, --role client for who submits jobs, --role admin for who may do everything");
  }
  const absl::StatusOr<v1::Role> role = tls::ParseRole(command.role);
  if (!role.ok()) return bad(base::WithContext(role.status(), "--role"));
  BALLAST_ASSIGN_OR_RETURN(const Pki pki, Pki::Open(command.config.data_dir()));
  std::chrono::nanoseconds ttl = tls::kDefaultTokenTtl;
  if (!command.ttl.empty()) {
    const absl::StatusOr<std::chrono::nanoseconds> parsed = base::ParseDuration(command.ttl);
    if (!parsed.ok()) return bad(base::WithContext(parsed.status(), "--ttl"));
    ttl = *parsed;
  }
  const absl::StatusOr<std::string> token = tls::MakeJoinToken(*role, command.name, ttl, base::RealClock().Now(),
                                                               pki.authority().fingerprint(), pki.token_secret());
  if (!token.ok()) return bad(token.status());
  return *token + "\n";
}

}  // namespace ballast::coordinator
