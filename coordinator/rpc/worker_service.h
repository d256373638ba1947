// WorkerService over the actor and the library of models.
#pragma once

#include <atomic>
#include <chrono>

#include "ballast/v1/worker_service.grpc.pb.h"
#include "coordinator/models/model_library.h"
#include "coordinator/rpc/access_control.h"
#include "coordinator/rpc/actor.h"
#include "coordinator/rpc/admission.h"
#include "coordinator/rpc/audit_log.h"
#include "coordinator/rpc/stall_watch.h"

namespace ballast::coordinator {

// What it is given must outlive it. A stream that says no hello within `hello_timeout` is ended with DEADLINE_EXCEEDED.
// What is refused is recorded in the audit log.
// Thread-safe.
class WorkerService final : public v1::WorkerService::WithCallbackMethod_Connect<v1::WorkerService::Service> {
 public:
  // `access` is null where nobody has a certificate.
  WorkerService(Actor* actor, models::ModelLibrary* library, AccessControl* access, Admission* admission,
                AuditLog* audit, StallWatch* stalls, std::chrono::milliseconds hello_timeout = std::chrono::seconds(10))
      : actor_(actor),
        library_(library),
        access_(access),
        admission_(admission),
        audit_(audit),
        stalls_(stalls),
        hello_timeout_(hello_timeout) {}

  // Ends fetches that are going on with UNAVAILABLE: workers come back and go on where they were.
  void Stop() { stopping_ = true; }

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Connect(
      grpc::CallbackServerContext* context) override;
  // Blocks in its own thread, with one piece in memory: the network's pace is the pace of reading. UNAVAILABLE where
  // so many are served already that clients would find no thread: workers try again.
  grpc::Status FetchModel(grpc::ServerContext* context, const v1::FetchModelRequest* request,
                          grpc::ServerWriter<v1::FilePiece>* writer) override;

 private:
  [[nodiscard]] absl::Status Fetch(const v1::FetchModelRequest& request, grpc::ServerContext* context,
                                   grpc::ServerWriter<v1::FilePiece>* writer);

  Actor* const actor_;
  models::ModelLibrary* const library_;
  AccessControl* const access_;
  Admission* const admission_;
  AuditLog* const audit_;
  StallWatch* const stalls_;
  const std::chrono::milliseconds hello_timeout_;
  std::atomic<int> fetch_count_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace ballast::coordinator
