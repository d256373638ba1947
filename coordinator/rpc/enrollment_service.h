// EnrollmentService over the certificate desk.
#pragma once

#include "ballast/v1/enrollment_service.grpc.pb.h"
#include "coordinator/rpc/admission.h"
#include "coordinator/rpc/audit_log.h"
#include "coordinator/rpc/certificate_desk.h"
#include "coordinator/rpc/rate_limiter.h"

namespace ballast::coordinator {

// Without a desk (null: this coordinator has no authority) every call is FAILED_PRECONDITION. What it is given outlives
// it. Thread-safe.
class EnrollmentService final : public v1::EnrollmentService::Service {
 public:
  EnrollmentService(CertificateDesk* desk, EnrollmentLimit* limit, Admission* admission, AuditLog* audit)
      : desk_(desk), limit_(limit), admission_(admission), audit_(audit) {}

  grpc::Status Enroll(grpc::ServerContext* context, const v1::EnrollRequest* request,
                      v1::EnrollResponse* reply) override;
  grpc::Status Renew(grpc::ServerContext* context, const v1::RenewRequest* request, v1::EnrollResponse* reply) override;

 private:
  CertificateDesk* const desk_;
  EnrollmentLimit* const limit_;
  Admission* const admission_;
  AuditLog* const audit_;
};

}  // namespace ballast::coordinator
