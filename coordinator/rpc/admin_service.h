// AdminService over the certificate desk, the store and the audit log.
#pragma once

#include "ballast/v1/admin_service.grpc.pb.h"
#include "coordinator/rpc/admission.h"
#include "coordinator/rpc/audit_log.h"
#include "coordinator/rpc/certificate_desk.h"
#include "storage/store.h"

namespace ballast::coordinator {

// Without a desk (null: this coordinator has no authority) tokens and revocations are FAILED_PRECONDITION. What it is
// given outlives it. Thread-safe.
class AdminService final : public v1::AdminService::Service {
 public:
  AdminService(CertificateDesk* desk, storage::Store* store, Admission* admission, AuditLog* audit)
      : desk_(desk), store_(store), admission_(admission), audit_(audit) {}

  grpc::Status CreateJoinToken(grpc::ServerContext* context, const v1::CreateJoinTokenRequest* request,
                               v1::CreateJoinTokenResponse* reply) override;
  grpc::Status ListCertificates(grpc::ServerContext* context, const v1::ListCertificatesRequest* request,
                                v1::ListCertificatesResponse* reply) override;
  grpc::Status RevokeCertificates(grpc::ServerContext* context, const v1::RevokeCertificatesRequest* request,
                                  v1::RevokeCertificatesResponse* reply) override;
  grpc::Status ListAuditEntries(grpc::ServerContext* context, const v1::ListAuditEntriesRequest* request,
                                v1::ListAuditEntriesResponse* reply) override;

 private:
  CertificateDesk* const desk_;
  storage::Store* const store_;
  Admission* const admission_;
  AuditLog* const audit_;
};

}  // namespace ballast::coordinator
