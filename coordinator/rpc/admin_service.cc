#include "coordinator/rpc/admin_service.h"

#include <chrono>
#include <string>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "common/base/text.h"
#include "common/rpc/channel.h"
#include "common/tls/certificate.h"
#include "common/tls/join_token.h"
#include "coordinator/rpc/answer.h"

namespace ballast::coordinator {
namespace {

// What a token allows; itself it is a secret.
std::string TokenText(const std::string& text) {
  const absl::StatusOr<tls::JoinToken> token = tls::ReadJoinToken(text);
  if (!token.ok()) return {};
  return fmt::format("token {} for {} {}, until {:%Y-%m-%d %H:%M:%S} UTC", token->token_id, tls::RoleText(token->role),
                     token->name.empty() ? "of any name that nobody has had" : base::Quoted(token->name),
                     std::chrono::floor<std::chrono::seconds>(token->expire_time));
}

}  // namespace

grpc::Status AdminService::CreateJoinToken(grpc::ServerContext* context, const v1::CreateJoinTokenRequest* request,
                                           v1::CreateJoinTokenResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "CreateJoinToken"); !refused.ok()) return refused;
  grpc::Status answer =
      desk_ == nullptr ? rpc::ToGrpc(NoAuthority()) : Answer(desk_->CreateToken(*request, CallerOf(*context)), reply);
  return audit_->Done(*context,
                      {.action = "CreateJoinToken", .subject = request->name(), .detail = TokenText(reply->token())},
                      std::move(answer));
}

grpc::Status AdminService::ListCertificates(grpc::ServerContext* context, const v1::ListCertificatesRequest* request,
                                            v1::ListCertificatesResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "ListCertificates"); !refused.ok()) return refused;
  return Answer(store_->ListCertificates(*request), reply);
}

grpc::Status AdminService::RevokeCertificates(grpc::ServerContext* context,
                                              const v1::RevokeCertificatesRequest* request,
                                              v1::RevokeCertificatesResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "RevokeCertificates"); !refused.ok()) return refused;
  grpc::Status answer =
      desk_ == nullptr ? rpc::ToGrpc(NoAuthority()) : Answer(desk_->Revoke(*request, CallerOf(*context)), reply);
  std::string detail;
  if (answer.ok() && !request->name().empty()) {
    detail = fmt::format(
        "every certificate of {}{} until now", request->name(),
        request->role() == v1::ROLE_UNSPECIFIED ? "" : fmt::format(" as {}", tls::RoleText(request->role())));
  }
  if (!request->reason().empty()) detail += fmt::format("{}({})", detail.empty() ? "" : " ", request->reason());
  for (const v1::Certificate& one : reply->certificates()) {
    detail += fmt::format("{}certificate {}", detail.empty() ? "" : ", ", one.serial());
  }
  return audit_->Done(*context,
                      {.action = "RevokeCertificates",
                       .subject = request->serial().empty() ? request->name() : request->serial(),
                       .detail = std::move(detail)},
                      std::move(answer));
}

grpc::Status AdminService::ListAuditEntries(grpc::ServerContext* context, const v1::ListAuditEntriesRequest* request,
                                            v1::ListAuditEntriesResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "ListAuditEntries"); !refused.ok()) return refused;
  return Answer(audit_->List(*request), reply);
}

}  // namespace ballast::coordinator
