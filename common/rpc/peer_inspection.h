// Who answers at an address, for those who could not connect.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/tls/identity.h"
#include "grpcpp/grpcpp.h"

namespace ballast::rpc {

// What a server showed of itself. Thread-safe.
class ShownCertificates {
 public:
  void Set(std::vector<std::string> chain, absl::Status verdict);
  // In PEM, its own first; empty as long as it has shown none.
  [[nodiscard]] std::vector<std::string> chain() const;
  // What the check said; OK as long as there was none.
  [[nodiscard]] absl::Status verdict() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> chain_;
  absl::Status verdict_;
};

// Credentials without a certificate that take any server for which `check` says OK of the certificates it shows (its
// own first). What was shown and said is put into `shown`.
using ChainCheck = std::function<absl::Status(const std::vector<std::string>& chain)>;
[[nodiscard]] std::shared_ptr<grpc::ChannelCredentials> CheckingCredentials(ChainCheck check,
                                                                            std::shared_ptr<ShownCertificates> shown);

// Waits until the channel is connected, or fails to, or `timeout` is over. True when it is connected.
[[nodiscard]] bool AwaitConnection(grpc::Channel& channel, std::chrono::milliseconds timeout);

// Why the coordinator at `address` cannot be spoken to with this identity (null: with plain text), as far as looking
// there tells. UNAUTHENTICATED: it wants a certificate, or its own was issued by another authority or is not valid
// now; FAILED_PRECONDITION: it speaks plain text only; OK: nothing more is known, it may just not run. Connects twice
// at most, and blocks up to twice `timeout`; nothing but TLS and HTTP/2 handshakes is said.
[[nodiscard]] absl::Status InspectPeer(const std::string& address, const tls::Identity* identity,
                                       std::chrono::milliseconds timeout);

}  // namespace ballast::rpc
