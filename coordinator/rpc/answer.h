// The end of a call.
#pragma once

#include "absl/status/statusor.h"
#include "common/rpc/channel.h"
#include "grpcpp/grpcpp.h"

namespace ballast::coordinator {

// A result as a call's reply, or its status.
template <typename T>
grpc::Status Answer(absl::StatusOr<T> result, T* reply) {
  if (!result.ok()) return rpc::ToGrpc(result.status());
  reply->Swap(&*result);
  return grpc::Status::OK;
}

}  // namespace ballast::coordinator
