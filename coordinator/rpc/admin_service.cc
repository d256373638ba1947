#include "coordinator/rpc/admin_service.h"

#include "common/rpc/channel.h"
#include "coordinator/rpc/answer.h"

namespace ballast::coordinator {

grpc::Status AdminService::CreateJoinToken(grpc::ServerContext* /*context*/, const v1::CreateJoinTokenRequest* request,
                                           v1::CreateJoinTokenResponse* reply) {
  return desk_ == nullptr ? rpc::ToGrpc(NoAuthority()) : Answer(desk_->CreateToken(*request), reply);
}

grpc::Status AdminService::ListCertificates(grpc::ServerContext* /*context*/,
                                            const v1::ListCertificatesRequest* request,
                                            v1::ListCertificatesResponse* reply) {
  return Answer(store_->ListCertificates(*request), reply);
}

grpc::Status AdminService::RevokeCertificates(grpc::ServerContext* context,
                                              const v1::RevokeCertificatesRequest* request,
                                              v1::RevokeCertificatesResponse* reply) {
  return desk_ == nullptr ? rpc::ToGrpc(NoAuthority()) : Answer(desk_->Revoke(*request, CallerOf(*context)), reply);
}

}  // namespace ballast::coordinator
