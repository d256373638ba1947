#include "coordinator/rpc/access_control.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "common/rpc/channel.h"
#include "coordinator/rpc/method_access.h"

namespace ballast::coordinator {
namespace {

// About 1 KiB each. Beyond so many all are checked anew.
constexpr std::size_t kMaxVerified = 20'000;
// What all calls that do not exist are called: their names are for whoever makes them up to choose.
constexpr char kUnknownCall[] = "UnknownCall";
constexpr std::size_t kMaxShownBytes = 100;

class AccessProcessor final : public grpc::AuthMetadataProcessor {
 public:
  explicit AccessProcessor(AccessControl* access) : access_(access) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context, OutputMetadata* /*consumed*/,
                       OutputMetadata* /*response*/) override {
    const auto path = metadata.find(":path");
    const std::string_view method =
        path == metadata.end() ? std::string_view() : std::string_view(path->second.data(), path->second.size());
    return rpc::ToGrpc(access_->Check(method, CertificateOf(*context)));
  }

 private:
  AccessControl* const access_;
};

std::string Holder(const tls::CertificateFacts& facts) {
  return fmt::format("the certificate of {} {}", tls::RoleText(facts.role), base::Quoted(facts.name));
}

std::string_view ShortName(std::string_view method) {
  return method.substr(method.rfind('/') + 1);
}

}  // namespace

AccessControl::AccessControl(std::string authority_pem, const base::Clock* clock,
                             std::function<void(const Refusal&)> on_refusal)
    : authority_pem_(std::move(authority_pem)), clock_(clock), on_refusal_(std::move(on_refusal)) {}

absl::StatusOr<tls::CertificateFacts> AccessControl::Verify(const std::string& certificate_pem) {
  {
    const std::scoped_lock lock(mutex_);
    if (const auto known = verified_.find(certificate_pem); known != verified_.end()) return known->second;
  }
  if (const absl::Status status = tls::CheckClientCertificate(certificate_pem, authority_pem_); !status.ok()) {
    return absl::UnauthenticatedError(
        fmt::format("the certificate is not one of this coordinator: {}; join this coordinator with a token of its own",
                    std::string(status.message())));
  }
  BALLAST_ASSIGN_OR_RETURN(tls::CertificateFacts facts, tls::ReadCertificate(certificate_pem));
  const std::scoped_lock lock(mutex_);
  if (verified_.size() >= kMaxVerified) verified_.clear();
  verified_.emplace(certificate_pem, facts);
  return facts;
}

absl::Status AccessControl::CheckRevoked(const Caller& holder) const {
  const auto refused = [&holder](const auto& revocation) {
    return absl::UnauthenticatedError(fmt::format(
        "the certificate of {} {} was revoked on {:%Y-%m-%d %H:%M:%S} UTC ({}); ask an administrator for a join token",
        tls::RoleText(holder.role), base::Quoted(holder.name),
        std::chrono::floor<std::chrono::seconds>(base::FromProto(revocation.revoke_time())),
        revocation.revoke_reason().empty() ? "no reason was given" : revocation.revoke_reason()));
  };
  const std::scoped_lock lock(mutex_);
  if (const auto found = revoked_.find(holder.serial); found != revoked_.end()) return refused(found->second);
  const auto name = revoked_names_.find({holder.role, holder.name});
  if (name == revoked_names_.end()) return absl::OkStatus();
  const bool before = holder.issue_time <= base::FromProto(name->second.revoke_time());
  return before ? refused(name->second) : absl::OkStatus();
}

absl::Status AccessControl::CheckFacts(const tls::CertificateFacts& facts) const {
  BALLAST_RETURN_IF_ERROR(CheckRevoked(HolderOf(facts)));
  const absl::Status time = tls::CheckTime(facts, clock_->Now());
  if (time.ok()) return time;
  return absl::UnauthenticatedError(fmt::format("{} is not valid now: {}; ask an administrator for a join token",
                                                Holder(facts), std::string(time.message())));
}

absl::Status AccessControl::Check(std::string_view method, const std::string& certificate_pem) {
  const std::optional<Access> access = AccessTo(method);
  std::optional<tls::CertificateFacts> facts;
  const absl::Status status = [&]() -> absl::Status {
    if (certificate_pem.empty()) {
      if (access == Access::kAnyone) return absl::OkStatus();
      return absl::UnauthenticatedError(
          "this coordinator takes only connections with a certificate of its own, and there was none; join it with a "
          "token: `ballast login TOKEN@HOST:PORT`, `ballast-worker --join TOKEN@HOST:PORT`");
    }
    BALLAST_ASSIGN_OR_RETURN(tls::CertificateFacts read, Verify(certificate_pem));
    facts = std::move(read);  // its holder is known, whether or not it is still valid
    BALLAST_RETURN_IF_ERROR(CheckFacts(*facts));
    if (!access.has_value()) {
      return absl::UnimplementedError(
          fmt::format("this coordinator has no call {}", base::Quoted(method.substr(0, kMaxShownBytes))));
    }
    if (Allows(*access, facts->role)) return absl::OkStatus();
    return absl::PermissionDeniedError(
        fmt::format("{} is for {}; this is {}", ShortName(method), AudienceOf(*access), Holder(*facts)));
  }();
  if (!status.ok()) Refuse(method, facts, status);
  return status;
}

void AccessControl::Refuse(std::string_view method, const std::optional<tls::CertificateFacts>& facts,
                           const absl::Status& status) {
  if (!on_refusal_) return;
  on_refusal_({.caller = facts ? HolderOf(*facts) : Caller{},
               .action = std::string(AccessTo(method) ? ShortName(method) : kUnknownCall),
               .status = status});
}

void AccessControl::Revoke(const v1::Certificate& certificate) {
  {
    const std::scoped_lock lock(mutex_);
    revoked_.emplace(certificate.serial(), certificate);
  }
  EndRevoked();
}

void AccessControl::RevokeName(const v1::NameRevocation& revocation) {
  {
    const std::scoped_lock lock(mutex_);
    revoked_names_.insert_or_assign({revocation.role(), revocation.name()}, revocation);
  }
  EndRevoked();
}

bool AccessControl::IsNameRevoked(v1::Role role, const std::string& name) const {
  const std::scoped_lock lock(mutex_);
  if (role == v1::WORKER) return revoked_names_.contains({v1::WORKER, name});
  return revoked_names_.contains({v1::CLIENT, name}) || revoked_names_.contains({v1::ADMIN, name});
}

bool AccessControl::HasLaterCall(const Caller& holder) const {
  const std::scoped_lock lock(mutex_);
  return std::any_of(open_.begin(), open_.end(), [&holder](const auto& entry) {
    const tls::CertificateFacts& facts = entry.second.facts;
    return facts.role == holder.role && facts.name == holder.name && facts.serial != holder.serial &&
           tls::IssueTime(facts) > holder.issue_time;
  });
}

void AccessControl::EndRevoked() {
  std::vector<std::pair<Caller, std::function<void(const absl::Status&)>>> open;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [id, call] : open_) open.emplace_back(HolderOf(call.facts), call.end);
  }
  for (const auto& [holder, end] : open) {
    if (const absl::Status status = CheckRevoked(holder); !status.ok()) end(status);
  }
}

void AccessControl::EndExpired() {
  std::vector<std::pair<std::function<void(const absl::Status&)>, absl::Status>> ends;
  {
    const std::scoped_lock lock(mutex_);
    const base::SystemTime now = clock_->Now();
    for (const auto& [id, call] : open_) {
      if (now > call.facts.not_after) ends.emplace_back(call.end, tls::CheckTime(call.facts, now));
    }
  }
  for (const auto& [end, status] : ends) end(base::WithContext(status, "the certificate of this connection"));
}

AccessControl::OpenCall AccessControl::Register(const grpc::ServerContextBase& context,
                                                std::function<void(const absl::Status&)> end) {
  const std::string pem = CertificateOf(*context.auth_context());
  absl::StatusOr<tls::CertificateFacts> facts = tls::ReadCertificate(pem);
  if (!facts.ok()) return {};
  const Caller holder = HolderOf(*facts);
  std::uint64_t id = 0;
  {
    const std::scoped_lock lock(mutex_);
    id = next_id_++;
    open_.emplace(id, Open{*std::move(facts), end});
  }
  // It may have been revoked since the call was let in.
  if (const absl::Status status = CheckRevoked(holder); !status.ok()) end(status);
  return {this, id};
}

AccessControl::OpenCall& AccessControl::OpenCall::operator=(OpenCall&& other) noexcept {
  if (this == &other) return *this;
  const OpenCall before = std::move(*this);
  owner_ = std::exchange(other.owner_, nullptr);
  id_ = other.id_;
  return *this;
}

AccessControl::OpenCall::~OpenCall() {
  if (owner_ == nullptr) return;
  const std::scoped_lock lock(owner_->mutex_);
  owner_->open_.erase(id_);
}

std::shared_ptr<grpc::AuthMetadataProcessor> AccessControl::Processor() {
  return std::make_shared<AccessProcessor>(this);
}

}  // namespace ballast::coordinator
