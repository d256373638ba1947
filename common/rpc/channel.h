// Client side of gRPC for every program: where to connect, with what, and for how long.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tls/identity.h"
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

// A channel with TLS on both sides (1.2 at least): this one shows the identity's certificate, and takes no coordinator
// but one whose certificate the identity's authority issued. With a unix socket it is plain text: what can open that is
// decided by its permissions. INVALID_ARGUMENT: no address. Does not connect.
[[nodiscard]] absl::StatusOr<std::shared_ptr<grpc::Channel>> CreateChannel(const std::string& address,
                                                                           const tls::Identity& identity);

// As the two above: with the identity where there is one.
[[nodiscard]] absl::StatusOr<std::shared_ptr<grpc::Channel>> CreateChannel(const std::string& address, bool insecure,
                                                                           const tls::Identity* identity);

// Whether the address is that of a unix socket.
[[nodiscard]] bool IsUnixAddress(const std::string& address);

// A channel with these credentials and the settings of every other; nothing is checked. For this folder.
[[nodiscard]] std::shared_ptr<grpc::Channel> CreateChannelWith(
    const std::string& address, bool local, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    grpc::ChannelArguments arguments = {});

// From now on what gRPC itself has to say goes to the log of this program, at level debug: what matters to others comes
// as a status. Creating a channel does it, too. Repeatable; thread-safe.
void LogGrpcQuietly();

// A context with a deadline: every unary call has one.
[[nodiscard]] std::unique_ptr<grpc::ClientContext> MakeContext(
    std::chrono::milliseconds timeout = std::chrono::seconds(30));

// gRPC's status as ours and back, code by code; but what was ended for want of memory is UNAVAILABLE: try again.
[[nodiscard]] absl::Status FromGrpc(const grpc::Status& status);
[[nodiscard]] grpc::Status ToGrpc(const absl::Status& status);

}  // namespace ballast::rpc
