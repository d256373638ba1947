// The worker's certificate: got once with a join token, renewed in time.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tls/identity.h"

namespace ballast::agent {

// Holds the identity that is kept in a file of the data directory. Thread-safe.
class Membership {
 public:
  // Reads the file where there is one. Codes of tls::LoadIdentity but NOT_FOUND.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Membership>> Open(const std::filesystem::path& file);
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  // Whether there is no identity, or one that has expired or that the token's coordinator does not take any more: Join
  // is the next step. Otherwise the token is not needed, and may stay where it was given. Asks the coordinator, if it
  // answers; blocks up to some seconds.
  [[nodiscard]] bool NeedsToJoin(const std::string& target) const;

  // Exchanges the token in `target` (`TOKEN@HOST:PORT`) for an identity, asking for the name `device_id`, and keeps it.
  // Blocks up to some seconds. INVALID_ARGUMENT: no token, or not one for a worker; INTERNAL: the identity could not be
  // kept; codes of rpc::Enroll. What another token would not mend has its next step (base::NextStepOf).
  [[nodiscard]] absl::Status Join(const std::string& target, const std::string& device_id);

  // Null where there is none: plain text then.
  [[nodiscard]] std::shared_ptr<const tls::Identity> identity() const;

  // Renews the identity at the coordinator with this address, again and again, at two thirds of its validity; a renewal
  // that fails is tried again and warned of. `on_renewed` is called after each, from a thread of this object. Once;
  // nothing happens where there is no identity. Ends with StopRenewing.
  void StartRenewing(std::string coordinator, std::function<void()> on_renewed);
  void StopRenewing();

 private:
  Membership(std::filesystem::path file, std::shared_ptr<const tls::Identity> identity)
      : file_(std::move(file)), identity_(std::move(identity)) {}

  [[nodiscard]] absl::Status Keep(tls::Identity identity);
  void Run(const std::stop_token& stop, const std::string& coordinator, const std::function<void()>& on_renewed);

  const std::filesystem::path file_;
  mutable std::mutex mutex_;
  std::condition_variable_any stopped_;
  std::shared_ptr<const tls::Identity> identity_;  // guarded by mutex_
  std::jthread thread_;
};

}  // namespace ballast::agent
