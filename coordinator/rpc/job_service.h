// JobService over the actor and the store.
#pragma once

#include <memory>
#include <string>

#include "ballast/v1/client_service.grpc.pb.h"
#include "ballast/v1/environment.pb.h"
#include "coordinator/models/model_library.h"
#include "coordinator/rpc/actor.h"
#include "coordinator/rpc/job_ids.h"
#include "coordinator/rpc/reading_gate.h"
#include "storage/store.h"

namespace ballast::coordinator {

// What it is given must outlive it. Thread-safe.
class JobService final : public v1::JobService::WithCallbackMethod_WatchJob<v1::JobService::Service> {
 public:
  JobService(Actor* actor, storage::Store* store, JobIds* ids, models::ModelLibrary* models,
             const v1::EnvironmentCatalogue* environments)
      : actor_(actor), store_(store), ids_(ids), models_(models), environments_(environments) {}

  // Waits for readings of the store that outlive their calls, and lets none begin any more. Call it before the store
  // goes away.
  void Stop() { gate_->Close(); }

  grpc::Status SubmitJob(grpc::ServerContext* context, const v1::SubmitJobRequest* request, v1::Job* reply) override;
  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request, v1::Job* reply) override;
  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* reply) override;
  grpc::Status CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request, v1::Job* reply) override;
  grpc::ServerWriteReactor<v1::JobUpdate>* WatchJob(grpc::CallbackServerContext* context,
                                                    const v1::WatchJobRequest* request) override;

 private:
  Actor* const actor_;
  storage::Store* const store_;
  JobIds* const ids_;
  models::ModelLibrary* const models_;
  const v1::EnvironmentCatalogue* const environments_;
  const std::shared_ptr<ReadingGate> gate_ = std::make_shared<ReadingGate>();
};

}  // namespace ballast::coordinator
