// ReportService: reports and comparisons over the store.
#pragma once

#include "ballast/v1/client_service.grpc.pb.h"
#include "common/base/clock.h"
#include "coordinator/rpc/admission.h"
#include "storage/store.h"

namespace ballast::coordinator {

// Synchronous; each call blocks its own thread on the disk. Thread-safe. What it is given must
// outlive it.
class ReportService final : public v1::ReportService::Service {
 public:
  ReportService(storage::Store& store, const base::Clock& clock, Admission* admission)
      : store_(store), clock_(clock), admission_(admission) {}

  grpc::Status GetReport(grpc::ServerContext* context, const v1::GetReportRequest* request,
                         v1::Report* response) override;
  grpc::Status ExportReport(grpc::ServerContext* context, const v1::ExportReportRequest* request,
                            grpc::ServerWriter<v1::ExportPiece>* writer) override;
  grpc::Status CompareRuns(grpc::ServerContext* context, const v1::CompareRunsRequest* request,
                           v1::Comparison* response) override;

 private:
  storage::Store& store_;
  const base::Clock& clock_;
  Admission* const admission_;
};

}  // namespace ballast::coordinator
