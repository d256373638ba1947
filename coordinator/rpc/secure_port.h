// The coordinator's certificates at work: the credentials of its port, who may call what, and what must be done in
// time.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/config.pb.h"
#include "common/base/clock.h"
#include "coordinator/rpc/access_control.h"
#include "coordinator/rpc/certificate_desk.h"
#include "coordinator/rpc/pki.h"
#include "grpcpp/grpcpp.h"
#include "storage/store.h"

namespace ballast::coordinator {

// TLS 1.2 or 1.3 with the certificate of DATA_DIR/pki. A thread renews that before it expires, which connections to
// come see within a second, and ends the open calls of certificates that have expired. Outlives the server.
// Thread-safe.
class SecurePort {
 public:
  // Opens the authority, renews the coordinator's certificate where that is due, and reads what was revoked. The store
  // and the clock outlive it. Errors have their next step (NextStepOf). Codes of Pki::Open and of the store.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<SecurePort>> Open(const v1::CoordinatorConfig& config,
                                                                        storage::Store* store, const base::Clock* clock,
                                                                        std::function<void(const Refusal&)> on_refusal);
  ~SecurePort();
  SecurePort(const SecurePort&) = delete;
  SecurePort& operator=(const SecurePort&) = delete;

  // For AddListeningPort; every call goes through access() first.
  [[nodiscard]] std::shared_ptr<grpc::ServerCredentials> Credentials();

  [[nodiscard]] AccessControl& access() { return access_; }
  [[nodiscard]] CertificateDesk& desk() { return desk_; }
  [[nodiscard]] const Pki& pki() const { return pki_; }

 private:
  SecurePort(Pki pki, const v1::CoordinatorConfig& config, storage::Store* store, const base::Clock* clock,
             std::function<void(const Refusal&)> on_refusal);

  [[nodiscard]] absl::Status RenewIfDue();
  void Run(const std::stop_token& stop);

  const Pki pki_;
  const std::vector<std::string> names_;
  const std::chrono::nanoseconds server_lifetime_;
  const base::Clock* const clock_;
  AccessControl access_;
  CertificateDesk desk_;
  std::mutex mutex_;
  std::condition_variable_any stopped_;
  std::jthread thread_;
};

}  // namespace ballast::coordinator
