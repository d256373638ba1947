// ModelService over the library of models and the history.
#pragma once

#include <stop_token>
#include <string>

#include "ballast/v1/client_service.grpc.pb.h"
#include "coordinator/models/model_library.h"
#include "coordinator/rpc/admission.h"
#include "coordinator/rpc/audit_log.h"
#include "coordinator/rpc/stall_watch.h"
#include "storage/store.h"

namespace ballast::coordinator {

// What it is given must outlive it. Thread-safe.
class ModelService final : public v1::ModelService::Service {
 public:
  ModelService(models::ModelLibrary* library, storage::Store* store, Admission* admission, AuditLog* audit,
               StallWatch* stalls)
      : library_(library), store_(store), admission_(admission), audit_(audit), stalls_(stalls) {}

  // Ends pushes that are going on with UNAVAILABLE; what came of them stays for the next time.
  void Stop() { stop_.request_stop(); }

  grpc::Status ListModels(grpc::ServerContext* context, const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* reply) override;
  grpc::Status PushModel(grpc::ServerContext* context,
                         grpc::ServerReaderWriter<v1::PushModelResponse, v1::PushModelRequest>* stream) override;
  grpc::Status RemoveModel(grpc::ServerContext* context, const v1::RemoveModelRequest* request,
                           v1::ModelEntry* reply) override;
  grpc::Status AdviseModel(grpc::ServerContext* context, const v1::AdviseModelRequest* request,
                           v1::ModelAdvice* reply) override;

 private:
  using PushStream = grpc::ServerReaderWriter<v1::PushModelResponse, v1::PushModelRequest>;

  // `model` becomes the model and level that are pushed.
  [[nodiscard]] absl::Status Push(grpc::ServerContext* context, PushStream* stream, std::string* model);
  // Ends the call where it stands still.
  [[nodiscard]] StallWatch::Call WatchCall(grpc::ServerContext* context) {
    return stalls_->Watch([context] { context->TryCancel(); });
  }
  // Until the file is complete. CANCELLED: the client has gone, or nothing came for a long time.
  [[nodiscard]] absl::Status TakePieces(grpc::ServerContext* context, PushStream* stream,
                                        models::ModelStore::Push* push);
  [[nodiscard]] absl::StatusOr<v1::ModelEntry> Remove(const v1::RemoveModelRequest& request);
  // FAILED_PRECONDITION where a job that has not ended needs the file.
  [[nodiscard]] absl::Status CheckUnneeded(const std::string& sha256);

  models::ModelLibrary* const library_;
  storage::Store* const store_;
  Admission* const admission_;
  AuditLog* const audit_;
  StallWatch* const stalls_;
  std::stop_source stop_;
};

}  // namespace ballast::coordinator
