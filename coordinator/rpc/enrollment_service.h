// EnrollmentService over the certificate desk.
#pragma once

#include "ballast/v1/enrollment_service.grpc.pb.h"
#include "coordinator/rpc/certificate_desk.h"

namespace ballast::coordinator {

// Without a desk (null: this coordinator has no authority) every call is FAILED_PRECONDITION. The desk outlives it.
// Thread-safe.
class EnrollmentService final : public v1::EnrollmentService::Service {
 public:
  explicit EnrollmentService(CertificateDesk* desk) : desk_(desk) {}

  grpc::Status Enroll(grpc::ServerContext* context, const v1::EnrollRequest* request,
                      v1::EnrollResponse* reply) override;
  grpc::Status Renew(grpc::ServerContext* context, const v1::RenewRequest* request, v1::EnrollResponse* reply) override;

 private:
  CertificateDesk* const desk_;
};

}  // namespace ballast::coordinator
