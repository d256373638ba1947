#include "worker/agent/session/model_client.h"

#include <memory>

#include "ballast/v1/worker_service.grpc.pb.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"

namespace ballast::agent {

absl::Status ModelClient::Fetch(const v1::FetchModelRequest& request,
                                const std::function<absl::Status(const v1::FilePiece&)>& visit,
                                std::chrono::steady_clock::time_point deadline, const std::stop_token& stop) {
  const std::shared_ptr<const tls::Identity> identity = identity_ ? identity_() : nullptr;
  BALLAST_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                           rpc::CreateChannel(coordinator_, insecure_, identity.get()));
  const std::unique_ptr<v1::WorkerService::Stub> stub = v1::WorkerService::NewStub(channel);
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  const std::unique_ptr<grpc::ClientContext> context = rpc::MakeContext(left);
  const std::stop_callback cancel(stop, [&context] { context->TryCancel(); });
  const std::unique_ptr<grpc::ClientReader<v1::FilePiece>> reader = stub->FetchModel(context.get(), request);
  v1::FilePiece piece;
  absl::Status visited;
  while (visited.ok() && reader->Read(&piece)) visited = visit(piece);
  if (!visited.ok()) context->TryCancel();
  const absl::Status status = rpc::FromGrpc(reader->Finish());
  if (!visited.ok()) return visited;
  if (!absl::IsCancelled(status) || stop.stop_requested()) return status;
  // Not this side's wish: the server was stopped before it could say so.
  return absl::UnavailableError("the coordinator broke off");
}

}  // namespace ballast::agent
