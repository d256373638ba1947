// The address a server listens on.
#pragma once

#include <netdb.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast::coordinator {

// Every message names the address, and has its next step (NextStepOf).

// Whether a socket can be made at `unix:/PATH` right now; gRPC itself only says that it could not. ALREADY_EXISTS:
// another program listens there; FAILED_PRECONDITION: something that is no socket has its path, or no directory the
// path's directory; PERMISSION_DENIED, NOT_FOUND (no such directory) and others as the system says.
[[nodiscard]] absl::Status CheckUnixSocket(const std::string& address);

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

// What `HOST:PORT` stands for on this machine; one at least. NOT_FOUND: there is no such host.
[[nodiscard]] absl::StatusOr<AddressList> ResolveListenAddress(const std::string& address);

// What the system says against `HOST:PORT`. ALREADY_EXISTS: another program listens there.
[[nodiscard]] absl::Status CannotListen(int error_number, const std::string& address);

// The address with its port replaced: what a port of 0 became.
[[nodiscard]] std::string WithPort(const std::string& address, int port);

}  // namespace ballast::coordinator
