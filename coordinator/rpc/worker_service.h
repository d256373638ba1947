// WorkerService over the actor.
#pragma once

#include "ballast/v1/worker_service.grpc.pb.h"
#include "coordinator/rpc/actor.h"

namespace ballast::coordinator {

// The actor must outlive it. Thread-safe.
class WorkerService final : public v1::WorkerService::CallbackService {
 public:
  explicit WorkerService(Actor* actor) : actor_(actor) {}

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Connect(
      grpc::CallbackServerContext* context) override;

 private:
  Actor* const actor_;
};

}  // namespace ballast::coordinator
