// WorkerService over the actor.
#pragma once

#include <chrono>

#include "ballast/v1/worker_service.grpc.pb.h"
#include "coordinator/rpc/actor.h"

namespace ballast::coordinator {

// The actor must outlive it. A stream that says no hello within `hello_timeout` is ended with DEADLINE_EXCEEDED.
// Thread-safe.
class WorkerService final : public v1::WorkerService::CallbackService {
 public:
  explicit WorkerService(Actor* actor, std::chrono::milliseconds hello_timeout = std::chrono::seconds(10))
      : actor_(actor), hello_timeout_(hello_timeout) {}

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Connect(
      grpc::CallbackServerContext* context) override;

 private:
  Actor* const actor_;
  const std::chrono::milliseconds hello_timeout_;
};

}  // namespace ballast::coordinator
