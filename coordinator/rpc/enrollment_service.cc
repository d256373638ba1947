#include "coordinator/rpc/enrollment_service.h"

#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
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
  if (!answer.ok()) base::Log().warn("enrolment refused to {}: {}", context->peer(), answer.error_message());
  return audit_->Done(*context, {.action = "Enroll", .subject = request->name(), .claimed_name = request->name()},
                      std::move(answer));
}

grpc::Status EnrollmentService::Renew(grpc::ServerContext* context, const v1::RenewRequest* request,
                                      v1::EnrollResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "Renew"); !refused.ok()) return refused;
  const Caller caller = CallerOf(*context);
  grpc::Status answer = desk_ == nullptr ? rpc::ToGrpc(NoAuthority()) : Answer(desk_->Renew(*request, caller), reply);
  if (!answer.ok()) base::Log().warn("renewal refused to {}: {}", context->peer(), answer.error_message());
  return audit_->Done(*context, {.action = "Renew", .subject = caller.name}, std::move(answer));
}

}  // namespace ballast::coordinator
