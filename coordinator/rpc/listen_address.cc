#include "coordinator/rpc/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "coordinator/rpc/next_step.h"

namespace ballast::coordinator {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

constexpr std::string_view kOtherAddress = "give a --listen address of this machine, as HOST:PORT or unix:/PATH";

absl::Status InUse(std::string_view address) {
  return WithNextStep(absl::AlreadyExistsError(fmt::format("another program listens on {} already", address)),
                      "stop the other program, or give another --listen address (port 0 chooses a free port)");
}

// gRPC makes the socket's file, and removes one that is there.
absl::Status CheckDirectory(const std::string& address, const std::filesystem::path& directory) {
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0 && errno == ENOENT) {
    return WithNextStep(
        absl::NotFoundError(fmt::format("listen on {}: there is no directory {}", address, directory.string())),
        fmt::format("mkdir -p {}, or give another --listen address", directory.string()));
  }
  if (!S_ISDIR(info.st_mode)) {
    return WithNextStep(
        absl::FailedPreconditionError(fmt::format("listen on {}: {} is no directory", address, directory.string())),
        "give a --listen address with a socket in a directory that there is");
  }
  return WithNextStep(
      base::WithContext(base::EnsureWritableDirectory(directory), fmt::format("listen on {}", address)),
      "give a --listen address with a socket in a directory that this user can write and that has room");
}

}  // namespace

absl::Status CheckUnixSocket(const std::string& address) {
  const std::string path = address.substr(kUnixPrefix.size());
  const base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return base::ErrnoStatus(errno, "create a unix socket");
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(name.sun_path)) {
    return WithNextStep(absl::InvalidArgumentError(
                            fmt::format("listen on {}: a path has 1 to {} bytes", address, sizeof(name.sun_path) - 1)),
                        "give a shorter path: --listen unix:/PATH");
  }
  std::memcpy(name.sun_path, path.data(), path.size());
  struct stat info {};
  const bool exists = ::lstat(path.c_str(), &info) == 0;
  if (exists && !S_ISSOCK(info.st_mode)) {
    return WithNextStep(
        absl::FailedPreconditionError(fmt::format("listen on {}: {} exists and is no socket", address, path)),
        "move it away, or give another --listen address");
  }
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  BALLAST_RETURN_IF_ERROR(CheckDirectory(address, parent.empty() ? "." : parent));
  // gRPC takes the place of a socket that is there. One that nobody listens on was left by a program that was killed;
  // any other is in use.
  if (!exists) return absl::OkStatus();
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0) return InUse(address);
  if (errno == ENOENT || errno == ECONNREFUSED) return absl::OkStatus();
  if (errno == EAGAIN) return InUse(address);  // it has more to accept than it can
  return WithNextStep(base::ErrnoStatus(errno, fmt::format("listen on {}: a socket is there", address)),
                      "stop the program it belongs to, or give another --listen address");
}

absl::Status CannotListen(int error_number, const std::string& address) {
  if (error_number == EADDRINUSE) return InUse(address);
  return WithNextStep(base::ErrnoStatus(error_number, fmt::format("listen on {}", address)),
                      error_number == EACCES ? "give a port from 1024 on: those below need privileges" : kOtherAddress);
}

absl::StatusOr<AddressList> ResolveListenAddress(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  const std::string port = address.substr(colon + 1);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return WithNextStep(absl::NotFoundError(fmt::format("listen on {}: {}", address, ::gai_strerror(error))),
                        kOtherAddress);
  }
  return AddressList(found, &::freeaddrinfo);
}

std::string WithPort(const std::string& address, int port) {
  if (address.starts_with(kUnixPrefix)) return address;
  return fmt::format("{}:{}", address.substr(0, address.rfind(':')), port);
}

}  // namespace ballast::coordinator
