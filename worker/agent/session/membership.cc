#include "worker/agent/session/membership.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/chrono.h>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/next_step.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/rpc/enrollment.h"
#include "common/tls/certificate.h"
#include "common/tls/join_token.h"

namespace ballast::agent {
namespace {

constexpr std::chrono::milliseconds kCallTimeout = std::chrono::seconds(10);
// The wall clock may be set: it is looked at this often.
constexpr std::chrono::nanoseconds kClockInterval = std::chrono::minutes(1);
constexpr std::chrono::nanoseconds kShortestRetry = std::chrono::milliseconds(200);
constexpr std::chrono::nanoseconds kLongestRetry = std::chrono::hours(1);

base::SystemTime Now() {
  return base::RealClock().Now();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Membership>> Membership::Open(const std::filesystem::path& file) {
  absl::StatusOr<tls::Identity> identity = tls::LoadIdentity(file);
  if (!identity.ok() && !absl::IsNotFound(identity.status())) return identity.status();
  std::shared_ptr<const tls::Identity> held;
  if (identity.ok()) held = std::make_shared<const tls::Identity>(*std::move(identity));
  return std::unique_ptr<Membership>(new Membership(file, std::move(held)));
}

Membership::~Membership() {
  StopRenewing();
}

bool Membership::NeedsToJoin(const std::string& target) const {
  const std::shared_ptr<const tls::Identity> held = identity();
  if (held == nullptr || Now() > held->facts.not_after) return true;
  const absl::StatusOr<tls::JoinTarget> split = tls::SplitJoinTarget(target);
  if (!split.ok()) return false;
  const absl::StatusOr<tls::JoinToken> token = tls::ReadJoinToken(split->token);
  const absl::StatusOr<tls::CertificateFacts> authority = tls::ReadCertificate(held->authority_pem);
  if (!token.ok() || !authority.ok()) return false;
  if (token->authority_fingerprint != authority->fingerprint) {
    base::Log().warn(
        "--join is for another coordinator than the certificate in {}, which stands; remove that file to join the "
        "other",
        file_.string());
    return false;
  }
  const absl::Status accepted = rpc::CheckAccepted(split->address, *held, kCallTimeout);
  if (!absl::IsUnauthenticated(accepted)) return false;
  base::Log().warn("{}; joining anew", std::string(accepted.message()));
  return true;
}

absl::Status Membership::Join(const std::string& target, const std::string& device_id) {
  BALLAST_ASSIGN_OR_RETURN(const tls::JoinTarget split, tls::SplitJoinTarget(target));
  BALLAST_ASSIGN_OR_RETURN(const tls::JoinToken token, tls::ReadJoinToken(split.token));
  if (token.role != v1::WORKER) {
    return base::WithNextStep(absl::InvalidArgumentError(fmt::format("the join token is for a {}, not for a worker",
                                                                     tls::RoleText(token.role))),
                              "ask for a join token: ballast token create --role worker");
  }
  BALLAST_ASSIGN_OR_RETURN(tls::Identity joined, rpc::Enroll(split, device_id, kCallTimeout));
  const std::string name = joined.facts.name;
  base::Log().info("joined coordinator {} as device {}; the certificate is valid until {:%Y-%m-%d %H:%M:%S} UTC",
                   split.address, base::Quoted(name), std::chrono::floor<std::chrono::seconds>(joined.facts.not_after));
  const absl::Status kept = Keep(std::move(joined));
  if (kept.ok()) return kept;
  // INTERNAL, whatever the disk says: to join again with this token can not help.
  return base::WithNextStep(
      absl::InternalError(fmt::format("the certificate came, and could not be kept: {}; the token is used up",
                                      std::string(kept.message()))),
      "let this user write in the data directory and free space on its disk; then ask for another token: ballast token "
      "create --role worker --name " +
          name);
}

absl::Status Membership::Keep(tls::Identity identity) {
  BALLAST_RETURN_IF_ERROR(tls::SaveIdentity(file_, identity));
  const std::scoped_lock lock(mutex_);
  identity_ = std::make_shared<const tls::Identity>(std::move(identity));
  return absl::OkStatus();
}

std::shared_ptr<const tls::Identity> Membership::identity() const {
  const std::scoped_lock lock(mutex_);
  return identity_;
}

void Membership::StartRenewing(std::string coordinator, std::function<void()> on_renewed) {
  if (identity() == nullptr) return;
  thread_ = std::jthread([this, coordinator = std::move(coordinator), on_renewed = std::move(on_renewed)](
                             const std::stop_token& stop) { Run(stop, coordinator, on_renewed); });
}

void Membership::StopRenewing() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Membership::Run(const std::stop_token& stop, const std::string& coordinator,
                     const std::function<void()>& on_renewed) {
  std::string last_problem;
  base::SystemTime retry_at{};
  while (true) {
    const std::shared_ptr<const tls::Identity> held = identity();
    const base::SystemTime due = std::max(tls::RenewalTime(held->facts), retry_at);
    if (const base::SystemTime now = Now(); now < due) {
      std::unique_lock lock(mutex_);
      stopped_.wait_for(lock, stop, std::min<std::chrono::nanoseconds>(due - now, kClockInterval),
                        [&stop] { return stop.stop_requested(); });
      if (stop.stop_requested()) return;
      continue;
    }
    if (stop.stop_requested()) return;
    absl::StatusOr<tls::Identity> next = rpc::Renew(coordinator, *held, kCallTimeout);
    const absl::Status status = next.ok() ? Keep(*std::move(next)) : next.status();
    if (status.ok()) {
      base::Log().info("the certificate was renewed; it is valid until {:%Y-%m-%d %H:%M:%S} UTC",
                       std::chrono::floor<std::chrono::seconds>(identity()->facts.not_after));
      last_problem.clear();
      retry_at = {};
      on_renewed();
      continue;
    }
    if (status.message() != last_problem) {
      base::Log().warn("the certificate could not be renewed: {}; trying again until it expires and after",
                       std::string(status.message()));
    }
    last_problem = std::string(status.message());
    const std::chrono::nanoseconds left = held->facts.not_after - Now();
    retry_at = Now() + std::clamp<std::chrono::nanoseconds>(left / 10, kShortestRetry, kLongestRetry);
    if (left < std::chrono::nanoseconds(0)) retry_at = Now() + kClockInterval;
  }
}

}  // namespace ballast::agent
