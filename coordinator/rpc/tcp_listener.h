// The coordinator's TCP port: takes connections and hands them to gRPC.
#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/fd.h"
#include "grpcpp/grpcpp.h"

namespace ballast::coordinator {

// gRPC's own listener ends for good when a connection cannot be accepted, for instance because as many files are open
// as may be: whoever opens enough connections would close the port to everybody. This one refuses what is too much, and
// goes on. Start once; the destructor stops it. Not thread-safe.
class TcpListener {
 public:
  // Listens on HOST:PORT, on every address that HOST has here. Codes and next steps of listen_address.h.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<TcpListener>> Open(const std::string& address);
  ~TcpListener();
  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;

  // The port, also where 0 was asked for.
  [[nodiscard]] int port() const { return port_; }

  struct Bounds {
    // Connections beyond are closed at once.
    std::size_t max_open_files = 0;
    // The same for those of one address (ClientKeyOf).
    std::size_t max_per_address = std::numeric_limits<std::size_t>::max();
    // Called now and then, from the listener's thread, with how many files have been open at once: never with fewer
    // than before, and before a connection goes to the server that makes it many more. May be empty.
    std::function<void(std::size_t)> on_open_files{};
  };
  // Hands connections to `acceptor`, from a thread of its own. The acceptor's server runs already.
  void Start(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor, Bounds bounds);

 private:
  TcpListener() = default;
  [[nodiscard]] absl::Status Listen(const std::string& address);
  void Accept(grpc::experimental::ExternalConnectionAcceptor* acceptor, const Bounds& bounds);

  std::vector<base::Fd> sockets_;
  int port_ = 0;
  base::Fd stop_;  // an eventfd: readable when it is over
  std::thread thread_;
};

}  // namespace ballast::coordinator
