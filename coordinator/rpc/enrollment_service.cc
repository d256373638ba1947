#include "coordinator/rpc/enrollment_service.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "common/rpc/channel.h"
#include "common/tls/certificate.h"
#include "coordinator/rpc/answer.h"
#include "coordinator/rpc/client_key.h"

namespace ballast::coordinator {

grpc::Status EnrollmentService::Enroll(grpc::ServerContext* context, const v1::EnrollRequest* request,
                                       v1::EnrollResponse* reply) {
  const auto enroll = [&]() -> absl::StatusOr<v1::EnrollResponse> {
    // Before the token is looked at: guessing must not be quick.
    BALLAST_RETURN_IF_ERROR(limit_->Admit(ClientKeyOf(CallerOf(*context))));
    if (desk_ == nullptr) return NoAuthority();
    return desk_->Enroll(*request);
  };
  grpc::Status answer = Answer(enroll(), reply);
  // Who tries too often is written down under one name, whatever names he makes up.
  const std::string_view claimed =
      answer.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED ? std::string_view() : request->name();
  const v1::Certificate& issued = reply->certificate();
  const std::string_view subject = answer.ok() ? std::string_view(issued.name()) : claimed;
  return audit_->Done(
      *context,
      {.action = "Enroll",
       .subject = subject,
       .claimed_name = claimed,
       .detail = fmt::format("certificate {} of {} {}, for token {}", issued.serial(), tls::RoleText(issued.role()),
                             base::Quoted(issued.name()), issued.token_id())},
      std::move(answer));
}

grpc::Status EnrollmentService::Renew(grpc::ServerContext* context, const v1::RenewRequest* request,
                                      v1::EnrollResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "Renew"); !refused.ok()) return refused;
  const Caller caller = CallerOf(*context);
  grpc::Status answer = desk_ == nullptr ? rpc::ToGrpc(NoAuthority()) : Answer(desk_->Renew(*request, caller), reply);
  return audit_->Done(*context,
                      {.action = "Renew",
                       .subject = caller.name,
                       .detail = fmt::format("certificate {} renews {}", reply->certificate().serial(), caller.serial)},
                      std::move(answer));
}

}  // namespace ballast::coordinator
