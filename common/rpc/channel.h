// Client side of gRPC for every program: where to connect, with what, and for how long.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/grpcpp.h"

namespace ballast::rpc {

// Largest message either side accepts.
inline constexpr int kMaxMessageBytes = 32 << 20;

// Whether plain text may be used with this address: a unix socket, or a loopback address. INVALID_ARGUMENT when it is
// neither `HOST:PORT` nor `unix:/PATH`.
[[nodiscard]] absl::StatusOr<bool> IsLocalAddress(const std::string& address);

// A channel to a coordinator, with keepalive. FAILED_PRECONDITION when plain text would leave the machine and
// `insecure` is false. Does not connect.
[[nodiscard]] absl::StatusOr<std::shared_ptr<grpc::Channel>> CreateChannel(const std::string& address, bool insecure);

// A context with a deadline: every unary call has one.
[[nodiscard]] std::unique_ptr<grpc::ClientContext> MakeContext(
    std::chrono::milliseconds timeout = std::chrono::seconds(30));

// gRPC's status as ours and back, code by code; the message stays.
[[nodiscard]] absl::Status FromGrpc(const grpc::Status& status);
[[nodiscard]] grpc::Status ToGrpc(const absl::Status& status);

}  // namespace ballast::rpc
