#include "coordinator/rpc/worker_service.h"

#include "coordinator/rpc/worker_session.h"

namespace ballast::coordinator {

grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* WorkerService::Connect(
    grpc::CallbackServerContext* context) {
  return WorkerSession::Start(actor_, context, hello_timeout_);
}

}  // namespace ballast::coordinator
