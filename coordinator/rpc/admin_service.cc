#include "coordinator/rpc/admin_service.h"

#include "common/rpc/channel.h"
#include "coordinator/rpc/answer.h"

namespace ballast::coordinator {

grpc::Status AdminService::CreateJoinToken(grpc::ServerContext* context, const v1::CreateJoinTokenRequest* request,
                                           v1::CreateJoinTokenResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "CreateJoinToken"); !refused.ok()) return refused;
  return audit_->Done(*context, {.action = "CreateJoinToken", .subject = request->name()},
                      desk_ == nullptr ? rpc::ToGrpc(NoAuthority()) : Answer(desk_->CreateToken(*request), reply));
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
  return audit_->Done(
      *context,
      {.action = "RevokeCertificates", .subject = request->serial().empty() ? request->name() : request->serial()},
      desk_ == nullptr ? rpc::ToGrpc(NoAuthority()) : Answer(desk_->Revoke(*request, CallerOf(*context)), reply));
}

grpc::Status AdminService::ListAuditEntries(grpc::ServerContext* context, const v1::ListAuditEntriesRequest* request,
                                            v1::ListAuditEntriesResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "ListAuditEntries"); !refused.ok()) return refused;
  return Answer(audit_->List(*request), reply);
}

}  // namespace ballast::coordinator
