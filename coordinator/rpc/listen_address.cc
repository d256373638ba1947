#include "coordinator/rpc/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "common/base/status.h"

namespace ballast::coordinator {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

absl::Status InUse(std::string_view address) {
  return absl::AlreadyExistsError(fmt::format("another program listens on {} already", address));
}

absl::Status CheckUnix(const std::string& address) {
  const std::string path = address.substr(kUnixPrefix.size());
  const base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return base::ErrnoStatus(errno, "create a unix socket");
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof(name.sun_path))
    return absl::InvalidArgumentError(fmt::format("{}: the path is too long", address));
  std::memcpy(name.sun_path, path.data(), path.size());
  // gRPC takes the place of a socket that is there. One that nobody listens on was left by a program that was killed;
  // any other is in use.
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0) return InUse(address);
  if (errno == ENOENT || errno == ECONNREFUSED) return absl::OkStatus();
  return base::ErrnoStatus(errno, fmt::format("listen on {}", address));
}

absl::Status CheckTcp(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  const std::string port = address.substr(colon + 1);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return absl::NotFoundError(fmt::format("listen on {}: {}", address, ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    const base::Fd fd(::socket(entry->ai_family, entry->ai_socktype | SOCK_CLOEXEC, entry->ai_protocol));
    if (!fd.valid()) {
      if (errno == EAFNOSUPPORT) continue;
      return base::ErrnoStatus(errno, fmt::format("listen on {}", address));
    }
    const int on = 1;  // as gRPC does: connections of a server that has just ended are no obstacle
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (::bind(fd.get(), entry->ai_addr, entry->ai_addrlen) == 0) continue;
    if (errno == EADDRINUSE) return InUse(address);
    if (errno == EADDRNOTAVAIL && entry != found) continue;  // `localhost` names IPv6 also where there is none
    return base::ErrnoStatus(errno, fmt::format("listen on {}", address));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckCanListen(const std::string& address) {
  return address.starts_with(kUnixPrefix) ? CheckUnix(address) : CheckTcp(address);
}

std::string WithPort(const std::string& address, int port) {
  if (address.starts_with(kUnixPrefix)) return address;
  return fmt::format("{}:{}", address.substr(0, address.rfind(':')), port);
}

}  // namespace ballast::coordinator
