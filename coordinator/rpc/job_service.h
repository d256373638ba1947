// JobService over the actor and the store.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "ballast/v1/client_service.grpc.pb.h"
#include "coordinator/rpc/access_control.h"
#include "coordinator/rpc/actor.h"
#include "coordinator/rpc/admission.h"
#include "coordinator/rpc/audit_log.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/job_intake.h"
#include "coordinator/rpc/reading_gate.h"
#include "storage/store.h"

namespace ballast::coordinator {

// What it is given must outlive it; `access` is null where nobody has a certificate. Thread-safe.
class JobService final : public v1::JobService::WithCallbackMethod_WatchJob<v1::JobService::Service> {
 public:
  JobService(Actor* actor, storage::Store* store, JobIntake* intake, AccessControl* access, Admission* admission,
             AuditLog* audit)
      : actor_(actor), store_(store), intake_(intake), access_(access), admission_(admission), audit_(audit) {}

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
  // PERMISSION_DENIED where the job is another's; codes of Store::GetJob.
  [[nodiscard]] absl::Status CheckMayCancel(const Caller& caller, const std::string& job_id);
  // What the open ones among the jobs wait for at this moment.
  void AddWaitReasons(std::chrono::system_clock::time_point deadline, const std::vector<v1::Job*>& jobs);

  Actor* const actor_;
  storage::Store* const store_;
  JobIntake* const intake_;
  AccessControl* const access_;
  Admission* const admission_;
  AuditLog* const audit_;
  const std::shared_ptr<ReadingGate> gate_ = std::make_shared<ReadingGate>();
};

}  // namespace ballast::coordinator
