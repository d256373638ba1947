// The coordinator as a server: everything but main.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/config.pb.h"
#include "common/base/clock.h"
#include "storage/store.h"

namespace ballast::coordinator {

// Serves workers and clients: the services of ballast.v1, gRPC health checking (SERVING only while everything can be
// stored) and server reflection. Where the data directory has a certificate authority, with TLS, and every call by who
// may make it (AccessControl), but on unix sockets. Else plain text, so on loopback addresses and unix sockets only,
// unless the configuration says `insecure`. Thread-safe.
class Server {
 public:
  // Starts serving. The configuration was checked and has its defaults; the store and the clock must outlive the
  // server. Blocks on the disk. INVALID_ARGUMENT: no address. FAILED_PRECONDITION: plain text would leave the machine.
  // ALREADY_EXISTS: the address is in use. Codes of the store, of SecurePort::Open and of listen_address.h. Errors
  // have their next step (NextStepOf).
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Server>> Start(const v1::CoordinatorConfig& config,
                                                                     storage::Store* store,
                                                                     const base::Clock& clock = base::RealClock());
  virtual ~Server() = default;
  Server() = default;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Where it listens, with the port that was chosen: for clients to connect to.
  [[nodiscard]] virtual const std::string& address() const = 0;

  // Ends: commits what was begun, ends every session and watcher with UNAVAILABLE, gives other calls three seconds.
  // Repeatable; the destructor does it too.
  virtual void Stop() = 0;
};

}  // namespace ballast::coordinator
