#include "coordinator/rpc/tcp_listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "coordinator/rpc/client_key.h"
#include "coordinator/rpc/connection_count.h"
#include "coordinator/rpc/listen_address.h"

namespace ballast::coordinator {
namespace {

// Connections that say nothing are asked after a minute, and given up after five: a device that is cut off for a while
// is of the greatest interest. It counts as offline long before; this only frees what a dead one left open. A device
// that merely thrashes is not given up: its kernel answers. How many questions that are is not said, because the time
// decides where it is given.
constexpr int kKeepaliveIdleS = 60;
constexpr int kKeepaliveIntervalS = 60;
constexpr unsigned kUserTimeoutMs = 300'000;
// After a failure that may last.
constexpr int kPauseMs = 100;
// By how many more files are open when that is told.
constexpr std::size_t kTellStep = 256;
// How often it is said that connections are refused.
constexpr std::chrono::minutes kWarnInterval(1);

int PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

std::string AddressOf(const sockaddr_storage& address, socklen_t size) {
  std::array<char, NI_MAXHOST> host{};
  const int error = ::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host.data(), host.size(), nullptr,
                                  0, NI_NUMERICHOST);
  return error == 0 ? AddressKeyOf(host.data()) : std::string();
}

void SetPort(sockaddr* address, int port) {
  const auto number = htons(static_cast<std::uint16_t>(port));
  if (address->sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(address)->sin6_port = number;
  } else {
    reinterpret_cast<sockaddr_in*>(address)->sin_port = number;
  }
}

// Errors that say nothing against the next connection.
bool IsOfOneConnection(int error_number) {
  switch (error_number) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

// Says something, but not again and again.
class RareWarning {
 public:
  // Whether it is time.
  bool IsDue() {
    const auto now = std::chrono::steady_clock::now();
    ++count_;
    if (last_ && now - *last_ < kWarnInterval) return false;
    last_ = now;
    return true;
  }
  // How often it was asked since the last time it was due.
  int TakeCount() { return std::exchange(count_, 0); }

 private:
  std::optional<std::chrono::steady_clock::time_point> last_;
  int count_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TcpListener>> TcpListener::Open(const std::string& address) {
  std::unique_ptr<TcpListener> listener(new TcpListener);
  BALLAST_RETURN_IF_ERROR(listener->Listen(address));
  listener->stop_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!listener->stop_.valid()) return base::ErrnoStatus(errno, "eventfd");
  return listener;
}

absl::Status TcpListener::Listen(const std::string& address) {
  BALLAST_ASSIGN_OR_RETURN(const AddressList found, ResolveListenAddress(address));
  for (addrinfo* entry = found.get(); entry != nullptr; entry = entry->ai_next) {
    base::Fd fd(::socket(entry->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) {
      if (errno == EAFNOSUPPORT) continue;
      return CannotListen(errno, address);
    }
    const int on = 1;
    const int off = 0;
    // Connections of a server that has just ended are no obstacle. The rest is for the connections, which take it over.
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, &kKeepaliveIdleS, sizeof kKeepaliveIdleS);
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPINTVL, &kKeepaliveIntervalS, sizeof kKeepaliveIntervalS);
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMs, sizeof kUserTimeoutMs);
    if (entry->ai_family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (port_ != 0) SetPort(entry->ai_addr, port_);
    if (::bind(fd.get(), entry->ai_addr, entry->ai_addrlen) != 0 || ::listen(fd.get(), SOMAXCONN) != 0) {
      if (errno == EADDRNOTAVAIL && entry != found.get()) continue;  // `localhost` names IPv6 also where there is none
      return CannotListen(errno, address);
    }
    port_ = PortOf(fd.get());
    sockets_.push_back(std::move(fd));
  }
  if (sockets_.empty()) return CannotListen(EAFNOSUPPORT, address);
  return absl::OkStatus();
}

TcpListener::~TcpListener() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(stop_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

void TcpListener::Start(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor, Bounds bounds) {
  thread_ = std::thread(
      [this, acceptor = std::move(acceptor), bounds = std::move(bounds)] { Accept(acceptor.get(), bounds); });
}

void TcpListener::Accept(grpc::experimental::ExternalConnectionAcceptor* acceptor, const Bounds& bounds) {
  std::size_t told_files = 0;
  std::vector<pollfd> watched;
  watched.push_back({.fd = stop_.get(), .events = POLLIN, .revents = 0});
  for (const base::Fd& socket : sockets_) watched.push_back({.fd = socket.get(), .events = POLLIN, .revents = 0});
  RareWarning refusals;
  RareWarning crowds;
  RareWarning failures;
  ConnectionCount count;
  while (true) {
    if (::poll(watched.data(), watched.size(), -1) < 0) {
      if (errno == EINTR) continue;
      base::Log().error("no connections are accepted any more: poll: {}", std::generic_category().message(errno));
      return;
    }
    if (watched.front().revents != 0) return;
    for (const pollfd& socket : watched) {
      if (socket.revents == 0) continue;
      sockaddr_storage peer{};
      socklen_t peer_size = sizeof peer;
      base::Fd connection(
          ::accept4(socket.fd, reinterpret_cast<sockaddr*>(&peer), &peer_size, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!connection.valid()) {
        if (errno == EAGAIN || IsOfOneConnection(errno)) continue;
        if (failures.IsDue()) {
          base::Log().error("connections cannot be accepted: {}; they wait", std::generic_category().message(errno));
        }
        if (::poll(watched.data(), 1, kPauseMs) > 0) return;
        continue;
      }
      // The system gives the lowest number that is free, so this says how many files are open.
      const auto open_files = static_cast<std::size_t>(connection.get());
      if (open_files >= bounds.max_open_files) {
        if (refusals.IsDue()) {
          base::Log().warn("connections are refused ({} since the last time): {} files are open", refusals.TakeCount(),
                           bounds.max_open_files);
        }
        continue;
      }
      const std::string address = AddressOf(peer, peer_size);
      if (!count.Add(connection.get(), address, bounds.max_per_address)) {
        if (crowds.IsDue()) {
          base::Log().warn(
              "connections from {} are refused ({} since the last time): {} are open from there "
              "(access_limits.connections_per_address)",
              address, crowds.TakeCount(), bounds.max_per_address);
        }
        continue;
      }
      if (bounds.on_open_files && open_files >= told_files) {
        told_files = open_files + kTellStep;
        bounds.on_open_files(told_files);
      }
      grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
      parameters.listener_fd = socket.fd;
      parameters.fd = connection.Release();
      acceptor->HandleNewConnection(&parameters);
    }
  }
}

}  // namespace ballast::coordinator
