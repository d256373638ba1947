#include "coordinator/rpc/enrollment_service.h"

#include "common/base/logging.h"
#include "common/rpc/channel.h"

namespace ballast::coordinator {
namespace {

grpc::Status Answer(absl::StatusOr<v1::EnrollResponse> result, std::string_view what,
                    const grpc::ServerContext& context, v1::EnrollResponse* reply) {
  if (!result.ok()) {
    base::Log().warn("{} refused to {}: {}", what, context.peer(), std::string(result.status().message()));
    return rpc::ToGrpc(result.status());
  }
  reply->Swap(&*result);
  return grpc::Status::OK;
}

}  // namespace

grpc::Status EnrollmentService::Enroll(grpc::ServerContext* context, const v1::EnrollRequest* request,
                                       v1::EnrollResponse* reply) {
  if (desk_ == nullptr) return rpc::ToGrpc(NoAuthority());
  return Answer(desk_->Enroll(*request), "enrolment", *context, reply);
}

grpc::Status EnrollmentService::Renew(grpc::ServerContext* context, const v1::RenewRequest* request,
                                      v1::EnrollResponse* reply) {
  if (desk_ == nullptr) return rpc::ToGrpc(NoAuthority());
  return Answer(desk_->Renew(*request, CallerOf(*context)), "renewal", *context, reply);
}

}  // namespace ballast::coordinator
