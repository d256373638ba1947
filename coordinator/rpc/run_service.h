// RunService: the history of runs, read from the store.
#pragma once

#include "ballast/v1/client_service.grpc.pb.h"
#include "coordinator/rpc/admission.h"
#include "storage/store.h"

namespace ballast::coordinator {

// Synchronous; each call blocks its own thread on the disk. Thread-safe. What it is given must
// outlive it.
class RunService final : public v1::RunService::Service {
 public:
  RunService(storage::Store& store, Admission* admission) : store_(store), admission_(admission) {}

  grpc::Status GetRun(grpc::ServerContext* context, const v1::GetRunRequest* request, v1::Run* response) override;
  grpc::Status ListRuns(grpc::ServerContext* context, const v1::ListRunsRequest* request,
                        v1::ListRunsResponse* response) override;
  // Every message has the same columns: the metrics that were asked for, or those of which the attempt has any value.
  // Damaged chunks are left out, and logged.
  grpc::Status ReadSamples(grpc::ServerContext* context, const v1::ReadSamplesRequest* request,
                           grpc::ServerWriter<v1::SampleSeries>* writer) override;

 private:
  storage::Store& store_;
  Admission* const admission_;
};

}  // namespace ballast::coordinator
