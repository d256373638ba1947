#include "coordinator/rpc/certificate_desk.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/characters.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/tls/certificate.h"
#include "common/tls/join_token.h"

namespace ballast::coordinator {
namespace {

constexpr std::size_t kMaxRequestBytes = 16U << 10U;
constexpr std::size_t kMaxReasonBytes = 256;
// A certificate says when it was issued to about a second: the next one of a name must not count as one of those
// before.
constexpr std::chrono::seconds kIssueTolerance(2);
constexpr std::size_t kMaxSerialDigits = 40;  // of any certificate: RFC 5280, 4.1.2.2
constexpr char kTakenOver[] = "taken over with a join token for this name";

absl::Status CheckRequestSize(const std::string& request_pem) {
  if (request_pem.size() <= kMaxRequestBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("the request for a certificate has {} bytes; at most {} are accepted",
                                                request_pem.size(), kMaxRequestBytes));
}

bool IsValid(const v1::Certificate& certificate, base::SystemTime now) {
  return !certificate.has_revoke_time() && now <= base::FromProto(certificate.expire_time());
}

// Clients and administrators are people, whose names stand for them in jobs, reservations and the audit log: a client
// who took an administrator's name would count as him.
bool IsSameKind(v1::Role left, v1::Role right) {
  return (left == v1::WORKER) == (right == v1::WORKER);
}

v1::NameRevocation RevocationOf(v1::Role role, const std::string& name, base::SystemTime now,
                                const std::string& reason) {
  v1::NameRevocation revocation;
  revocation.set_role(role);
  revocation.set_name(name);
  *revocation.mutable_revoke_time() = base::ToProto(now);
  revocation.set_revoke_reason(reason);
  return revocation;
}

absl::Status TokenWasUsed() {
  return absl::UnauthenticatedError(
      "the join token was used already; each is good for one certificate, ask for another");
}

}  // namespace

absl::Status NoAuthority() {
  return absl::FailedPreconditionError(
      "this coordinator has no certificate authority; `ballast-coordinator init` makes one, and a restart takes it up");
}

absl::Status CertificateDesk::LoadRevoked() {
  BALLAST_ASSIGN_OR_RETURN(const std::vector<v1::Certificate> revoked, store_->RevokedCertificates());
  for (const v1::Certificate& certificate : revoked) access_->Revoke(certificate);
  BALLAST_ASSIGN_OR_RETURN(const std::vector<v1::NameRevocation> names, store_->NameRevocations());
  for (const v1::NameRevocation& revocation : names) access_->RevokeName(revocation);
  return absl::OkStatus();
}

std::chrono::nanoseconds CertificateDesk::LifetimeOf(v1::Role role) const {
  return base::FromProto(role == v1::WORKER ? lifetimes_.worker_lifetime() : lifetimes_.client_lifetime());
}

absl::StatusOr<std::vector<v1::Certificate>> CertificateDesk::CertificatesOf(const std::string& name) {
  std::vector<v1::Certificate> found;
  v1::ListCertificatesRequest request;
  request.set_name(name);
  request.set_page_size(1000);
  do {
    BALLAST_ASSIGN_OR_RETURN(v1::ListCertificatesResponse page, store_->ListCertificates(request));
    for (v1::Certificate& certificate : *page.mutable_certificates()) found.push_back(std::move(certificate));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return found;
}

absl::StatusOr<v1::EnrollResponse> CertificateDesk::Issue(const std::string& request_pem, v1::Role role,
                                                          const std::string& name) {
  const base::SystemTime now = clock_->Now();
  v1::EnrollResponse response;
  BALLAST_ASSIGN_OR_RETURN(*response.mutable_certificate_pem(),
                           pki_->authority().IssueClient(request_pem, role, name, now, LifetimeOf(role)));
  response.set_authority_pem(pki_->authority().certificate_pem());
  BALLAST_ASSIGN_OR_RETURN(const tls::CertificateFacts facts, tls::ReadCertificate(response.certificate_pem()));
  v1::Certificate* const certificate = response.mutable_certificate();
  certificate->set_serial(facts.serial);
  certificate->set_role(role);
  certificate->set_name(name);
  *certificate->mutable_create_time() = base::ToProto(now);
  *certificate->mutable_expire_time() = base::ToProto(facts.not_after);
  return response;
}

absl::Status CertificateDesk::CheckMaker(const tls::JoinToken& token) const {
  if (token.maker.name.empty()) return absl::OkStatus();
  // What was revoked of his after he made it: a certificate of that time would be refused, too.
  const Caller maker = {.authenticated = true,
                        .role = token.maker.role,
                        .name = token.maker.name,
                        .serial = token.maker.serial,
                        .issue_time = token.make_time,
                        .peer = {}};
  if (access_->CheckRevoked(maker).ok()) return absl::OkStatus();
  return absl::UnauthenticatedError(
      fmt::format("the join token was made by {} {}, whose certificate was revoked since; ask an administrator for "
                  "another, or make "
                  "one on the coordinator's machine: `ballast-coordinator token --role {}`",
                  tls::RoleText(maker.role), base::Quoted(maker.name), tls::RoleText(token.role)));
}

absl::StatusOr<v1::EnrollResponse> CertificateDesk::Enroll(const v1::EnrollRequest& request) {
  const base::SystemTime now = clock_->Now();
  BALLAST_ASSIGN_OR_RETURN(const tls::JoinToken token, tls::CheckJoinToken(request.token(), pki_->token_secret(), now));
  BALLAST_RETURN_IF_ERROR(CheckRequestSize(request.certificate_request_pem()));
  const std::string& name = token.name.empty() ? request.name() : token.name;
  BALLAST_RETURN_IF_ERROR(tls::CheckHolderName(token.role, name));

  const std::scoped_lock lock(mutex_);
  BALLAST_RETURN_IF_ERROR(CheckMaker(token));
  BALLAST_ASSIGN_OR_RETURN(std::vector<v1::Certificate> before, CertificatesOf(name));
  const auto same_token = [&](const v1::Certificate& one) { return one.token_id() == token.token_id; };
  if (std::ranges::any_of(before, same_token)) return TokenWasUsed();
  std::erase_if(before, [&](const v1::Certificate& one) { return !IsSameKind(one.role(), token.role); });
  if (before.empty() && token.name.empty() && access_->IsNameRevoked(token.role, name)) {
    return absl::AlreadyExistsError(fmt::format(
        "certificates of {} {} were revoked; join under another name, or ask for a token that names this one "
        "(`token --role {} --name {}`)",
        tls::RoleText(token.role), base::Quoted(name), tls::RoleText(token.role), name));
  }
  if (!before.empty() && token.name.empty()) {
    const auto valid = std::ranges::find_if(before, [&](const v1::Certificate& one) { return IsValid(one, now); });
    return absl::AlreadyExistsError(fmt::format(
        "{} {} {}; join under another name, or ask for a token that names this one (`token --role {} --name {}`), "
        "which takes it over",
        tls::RoleText(valid != before.end() ? valid->role() : before.front().role()), base::Quoted(name),
        valid != before.end() ? "has a valid certificate already"
                              : "had a certificate, which was revoked or has expired",
        tls::RoleText(token.role), name));
  }
  // Who gives out a token for a name knows who that is: a person may have a certificate of each role.
  std::erase_if(before, [&](const v1::Certificate& one) { return one.role() != token.role || !IsValid(one, now); });
  BALLAST_ASSIGN_OR_RETURN(v1::EnrollResponse response, Issue(request.certificate_request_pem(), token.role, name));
  response.mutable_certificate()->set_token_id(token.token_id);
  storage::WriteBatch batch = {storage::PutCertificate{response.certificate()}};
  for (v1::Certificate& old : before) {
    *old.mutable_revoke_time() = base::ToProto(now);
    old.set_revoke_reason(kTakenOver);
    batch.push_back(storage::PutCertificate{old});
  }
  // Also those that the database does not know.
  const v1::NameRevocation revocation = RevocationOf(token.role, name, now - kIssueTolerance, kTakenOver);
  if (!token.name.empty()) batch.push_back(storage::PutNameRevocation{revocation});
  const absl::Status stored = store_->WriteAndWait(std::move(batch));
  if (absl::IsAlreadyExists(stored)) return TokenWasUsed();
  BALLAST_RETURN_IF_ERROR(stored);
  for (const v1::Certificate& old : before) access_->Revoke(old);
  if (!token.name.empty()) access_->RevokeName(revocation);
  base::Log().info("{} {} joined; certificate {}", tls::RoleText(token.role), base::Quoted(name),
                   response.certificate().serial());
  return response;
}

absl::StatusOr<v1::EnrollResponse> CertificateDesk::Renew(const v1::RenewRequest& request, const Caller& caller) {
  if (!caller.authenticated) return absl::UnauthenticatedError("only the holder of a certificate can renew it");
  BALLAST_RETURN_IF_ERROR(CheckRequestSize(request.certificate_request_pem()));
  const std::scoped_lock lock(mutex_);
  // It may have been revoked since the call was let in.
  BALLAST_RETURN_IF_ERROR(access_->CheckRevoked(caller));
  BALLAST_ASSIGN_OR_RETURN(v1::EnrollResponse response,
                           Issue(request.certificate_request_pem(), caller.role, caller.name));
  response.mutable_certificate()->set_renews_serial(caller.serial);
  BALLAST_RETURN_IF_ERROR(store_->WriteAndWait({storage::PutCertificate{response.certificate()}}));
  base::Log().info("{} {} renewed its certificate; it is {} now", tls::RoleText(caller.role), base::Quoted(caller.name),
                   response.certificate().serial());
  return response;
}

absl::StatusOr<v1::CreateJoinTokenResponse> CertificateDesk::CreateToken(const v1::CreateJoinTokenRequest& request,
                                                                         const Caller& caller) {
  const std::scoped_lock lock(mutex_);
  // It may have been revoked since the call was let in, and a token is made after that then.
  BALLAST_RETURN_IF_ERROR(access_->CheckRevoked(caller));
  const std::chrono::nanoseconds ttl = request.has_ttl() ? base::FromProto(request.ttl()) : tls::kDefaultTokenTtl;
  v1::CreateJoinTokenResponse response;
  BALLAST_ASSIGN_OR_RETURN(
      *response.mutable_token(),
      tls::MakeJoinToken(request.role(), request.name(), ttl, clock_->Now(), pki_->authority().fingerprint(),
                         pki_->token_secret(), {.role = caller.role, .name = caller.name, .serial = caller.serial}));
  return response;
}

absl::StatusOr<CertificateDesk::Wanted> CertificateDesk::WantedOf(const v1::RevokeCertificatesRequest& request) {
  Wanted wanted;
  if (!request.serial().empty()) {
    absl::StatusOr<v1::Certificate> one = store_->GetCertificate(request.serial());
    if (absl::IsNotFound(one.status()) && request.even_unknown()) {
      if (request.serial().size() > kMaxSerialDigits ||
          request.serial().find_first_not_of("0123456789abcdef") != std::string::npos) {
        return absl::InvalidArgumentError(
            fmt::format("{} is no serial number: at most {} lower-case hexadecimal digits",
                        base::Quoted(request.serial()), kMaxSerialDigits));
      }
      one = v1::Certificate();
      one->set_serial(request.serial());
      *one->mutable_create_time() = base::ToProto(clock_->Now());
    }
    BALLAST_RETURN_IF_ERROR(one.status());
    wanted.certificates.push_back(*std::move(one));
    return wanted;
  }
  BALLAST_ASSIGN_OR_RETURN(wanted.certificates, CertificatesOf(request.name()));
  if (request.role() != v1::ROLE_UNSPECIFIED) {
    std::erase_if(wanted.certificates, [&](const v1::Certificate& one) { return one.role() != request.role(); });
  }
  for (const v1::Certificate& one : wanted.certificates) wanted.roles.insert(one.role());
  // A person goes in every role: the database may not know all.
  if (request.role() == v1::ROLE_UNSPECIFIED &&
      (wanted.roles.contains(v1::CLIENT) || wanted.roles.contains(v1::ADMIN))) {
    wanted.roles.insert({v1::CLIENT, v1::ADMIN});
  }
  if (wanted.roles.empty()) {
    if (!request.even_unknown()) {
      return absl::NotFoundError(fmt::format(
          "there is no certificate of {}{}; where the database is a copy that is older than the certificate, "
          "`--even-unknown --role ROLE` revokes it nevertheless",
          request.role() == v1::ROLE_UNSPECIFIED ? "" : fmt::format("{} ", tls::RoleText(request.role())),
          base::Quoted(request.name())));
    }
    if (request.role() == v1::ROLE_UNSPECIFIED) {
      return absl::InvalidArgumentError(fmt::format(
          "say which role the certificates of {} have: nothing is known of them", base::Quoted(request.name())));
    }
    BALLAST_RETURN_IF_ERROR(tls::CheckHolderName(request.role(), request.name()));
    wanted.roles.insert(request.role());
  }
  // A person's certificates go together, but a device that is called like him is another matter.
  if (wanted.roles.size() > 1 && wanted.roles.contains(v1::WORKER)) {
    return absl::FailedPreconditionError(
        fmt::format("{} is a worker and a person; say whose certificates are meant", base::Quoted(request.name())));
  }
  // Revoked ones keep their reason.
  std::erase_if(wanted.certificates, [](const v1::Certificate& one) { return one.has_revoke_time(); });
  return wanted;
}

absl::StatusOr<v1::RevokeCertificatesResponse> CertificateDesk::Revoke(const v1::RevokeCertificatesRequest& request,
                                                                       const Caller& caller) {
  if (request.serial().empty() == request.name().empty()) {
    return absl::InvalidArgumentError("name what is revoked: a serial number or a name, one of the two");
  }
  if (!request.serial().empty() && request.role() != v1::ROLE_UNSPECIFIED) {
    return absl::InvalidArgumentError(
        "a serial number is that of one certificate, whatever its role; leave the role out");
  }
  if (request.reason().size() > kMaxReasonBytes) {
    return absl::InvalidArgumentError(fmt::format("a reason has at most {} bytes", kMaxReasonBytes));
  }
  if (base::HasUnsafeCharacters(request.reason())) {
    return absl::InvalidArgumentError(fmt::format(
        "reason {}: a reason is one line, without control characters and marks that turn the direction of text",
        base::Quoted(request.reason())));
  }
  const std::scoped_lock lock(mutex_);
  BALLAST_ASSIGN_OR_RETURN(Wanted wanted, WantedOf(request));
  const base::SystemTime now = clock_->Now();
  const std::string reason = fmt::format("{}{}{}", caller.name.empty() ? "" : fmt::format("by {}", caller.name),
                                         caller.name.empty() || request.reason().empty() ? "" : ": ", request.reason());
  storage::WriteBatch batch;
  std::vector<v1::NameRevocation> names;
  for (const v1::Role role : wanted.roles) {
    names.push_back(RevocationOf(role, request.name(), now, reason));
    batch.push_back(storage::PutNameRevocation{names.back()});
  }
  v1::RevokeCertificatesResponse response;
  for (v1::Certificate& one : wanted.certificates) {
    if (!one.has_revoke_time()) {
      *one.mutable_revoke_time() = base::ToProto(now);
      one.set_revoke_reason(reason);
      batch.push_back(storage::PutCertificate{one});
    }
    *response.add_certificates() = std::move(one);
  }
  if (!batch.empty()) BALLAST_RETURN_IF_ERROR(store_->WriteAndWait(std::move(batch)));
  for (const v1::Certificate& one : response.certificates()) {
    access_->Revoke(one);
    base::Log().warn("certificate {} of {} {} is revoked ({})", one.serial(), tls::RoleText(one.role()),
                     base::Quoted(one.name()), one.revoke_reason());
  }
  for (const v1::NameRevocation& name : names) {
    access_->RevokeName(name);
    base::Log().warn("every certificate of {} {} that was issued before is revoked ({})", tls::RoleText(name.role()),
                     base::Quoted(name.name()), name.revoke_reason());
  }
  return response;
}

}  // namespace ballast::coordinator
