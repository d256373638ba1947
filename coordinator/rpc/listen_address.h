// The address a server listens on.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace ballast::coordinator {

// Whether the address can be bound right now; gRPC itself only says that it could not. ALREADY_EXISTS: another program
// listens there; FAILED_PRECONDITION: something that is no socket has its path, or no directory the path's directory;
// PERMISSION_DENIED, NOT_FOUND (no such host or directory) and others as the system says. Every message names the
// address, and has its next step (NextStepOf).
[[nodiscard]] absl::Status CheckCanListen(const std::string& address);

// The address with its port replaced: what a port of 0 became.
[[nodiscard]] std::string WithPort(const std::string& address, int port);

}  // namespace ballast::coordinator
