#include "common/rpc/channel.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <charconv>
#include <cstdint>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "grpc/support/log.h"

namespace ballast::rpc {
namespace {

// Asks the coordinator whether it is there. It answers whatever its disk does, because HTTP/2 answers, not the program;
// so a connection that is half open (a power cut, a NAT that forgot it) is found within a minute. Giving one up that
// was alive costs a reconnection and nothing else. Servers take a ping every 20 s.
constexpr int kKeepaliveTimeMs = 25'000;
constexpr int kKeepaliveTimeoutMs = 35'000;
// On one machine the kernel tells at once that the other side is gone, and both sides may thrash: patience costs
// nothing.
constexpr int kLocalKeepaliveTimeMs = 60'000;
constexpr int kLocalKeepaliveTimeoutMs = 300'000;
// A coordinator that was just restarted is found again at once, one that stays away costs a try every few seconds.
constexpr int kInitialReconnectMs = 100;
constexpr int kMaxReconnectMs = 5'000;

constexpr std::string_view kUnixPrefix = "unix:";

// What a gRPC client says when the server has no memory left for what is sent to it: HTTP/2's ENHANCE_YOUR_CALM without
// a word of the server's.
constexpr std::string_view kEndedForMemory = "Received RST_STREAM with error code 11";

absl::Status BadAddress(std::string_view address, std::string_view problem) {
  return absl::InvalidArgumentError(
      fmt::format("address '{}': {}; use HOST:PORT, [IPV6]:PORT or unix:/PATH", address, problem));
}

bool IsLoopbackHost(const std::string& host) {
  if (host == "localhost") return true;
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24U) == 127;
  in6_addr v6{};
  if (::inet_pton(AF_INET6, host.c_str(), &v6) != 1) return false;
  if (IN6_IS_ADDR_LOOPBACK(&v6)) return true;
  return IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127;
}

}  // namespace

absl::StatusOr<bool> IsLocalAddress(const std::string& address) {
  const std::string_view text = address;
  if (text.starts_with(kUnixPrefix)) {
    const std::string_view path = text.substr(kUnixPrefix.size());
    if (!path.starts_with('/') || path.size() < 2)
      return BadAddress(text, "the path of a unix socket must be absolute");
    if (path.size() >= sizeof(sockaddr_un{}.sun_path)) {
      return BadAddress(
          text, fmt::format("the path of a unix socket may have at most {} bytes", sizeof(sockaddr_un{}.sun_path) - 1));
    }
    return true;
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return BadAddress(text, "there is no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  std::uint16_t port_number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), port_number);
  if (error != std::errc() || end != port.data() + port.size()) {
    return BadAddress(text, fmt::format("'{}' is not a port (0 to 65535)", port));
  }
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    in6_addr v6{};
    if (::inet_pton(AF_INET6, std::string(host).c_str(), &v6) != 1) {
      return BadAddress(text, fmt::format("'{}' is not an IPv6 address", host));
    }
  } else if (host.find(':') != std::string_view::npos) {
    return BadAddress(text, "an IPv6 address must stand in brackets");
  } else if (host.find_first_of("/[] \t") != std::string_view::npos) {
    return BadAddress(text, fmt::format("'{}' is not a host", host));
  }
  if (host.empty()) return BadAddress(text, "there is no host");
  return IsLoopbackHost(std::string(host));
}

std::shared_ptr<grpc::Channel> CreateChannelWith(const std::string& address, bool local,
                                                 const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                                 grpc::ChannelArguments arguments) {
  LogGrpcQuietly();
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, local ? kLocalKeepaliveTimeMs : kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, local ? kLocalKeepaliveTimeoutMs : kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kInitialReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  // Each channel is a connection of its own: nothing is shared with, or held up by, another channel of this process.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  // A proxy of the environment cannot reach this machine's own loopback.
  if (local) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> CreateChannel(const std::string& address, bool insecure) {
  BALLAST_ASSIGN_OR_RETURN(const bool local, IsLocalAddress(address));
  if (!local && !insecure) {
    return absl::FailedPreconditionError(
        fmt::format("plain text to {} would leave this machine; join that coordinator with a token, connect to a "
                    "loopback address or a unix socket, or accept plain text with --insecure",
                    address));
  }
  return CreateChannelWith(address, local, grpc::InsecureChannelCredentials());
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> CreateChannel(const std::string& address,
                                                             const tls::Identity& identity) {
  BALLAST_ASSIGN_OR_RETURN(const bool local, IsLocalAddress(address));
  if (IsUnixAddress(address)) return CreateChannelWith(address, local, grpc::InsecureChannelCredentials());
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = identity.authority_pem;
  options.pem_private_key = identity.private_key_pem;
  options.pem_cert_chain = identity.certificate_pem;
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(tls::kServerName);
  return CreateChannelWith(address, local, grpc::SslCredentials(options), arguments);
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> CreateChannel(const std::string& address, bool insecure,
                                                             const tls::Identity* identity) {
  return identity == nullptr ? CreateChannel(address, insecure) : CreateChannel(address, *identity);
}

bool IsUnixAddress(const std::string& address) {
  return std::string_view(address).starts_with(kUnixPrefix);
}

void LogGrpcQuietly() {
  gpr_set_log_function([](gpr_log_func_args* args) { base::Log().debug("grpc: {}", args->message); });
}

std::unique_ptr<grpc::ClientContext> MakeContext(std::chrono::milliseconds timeout) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + timeout);
  return context;
}

// Both enumerations number the same codes in the same way, which gRPC guarantees: they are the codes of the protocol.
absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED && status.error_message() == kEndedForMemory) {
    return absl::UnavailableError(
        "the coordinator has no memory left for what is sent to it, and ended this call; wait until fewer send at "
        "once");
  }
  return {static_cast<absl::StatusCode>(static_cast<int>(status.error_code())), status.error_message()};
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(static_cast<int>(status.code())), std::string(status.message())};
}

}  // namespace ballast::rpc
