// Fetches models over gRPC.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "common/tls/identity.h"
#include "worker/agent/model_fetcher.h"

namespace ballast::agent {

// Each fetch has a connection of its own, so that gigabytes never stand in the way of the session. Thread-safe.
class ModelClient final : public ModelFetcher {
 public:
  // `identity` gives what is to be shown now, and null for plain text; it may be empty.
  ModelClient(std::string coordinator, bool insecure,
              std::function<std::shared_ptr<const tls::Identity>()> identity = {})
      : coordinator_(std::move(coordinator)), insecure_(insecure), identity_(std::move(identity)) {}

  [[nodiscard]] bool same_machine() const override { return coordinator_.starts_with("unix:"); }
  [[nodiscard]] absl::Status Fetch(const v1::FetchModelRequest& request,
                                   const std::function<absl::Status(const v1::FilePiece&)>& visit,
                                   std::chrono::steady_clock::time_point deadline,
                                   const std::stop_token& stop) override;

 private:
  const std::string coordinator_;  // address
  const bool insecure_;
  const std::function<std::shared_ptr<const tls::Identity>()> identity_;
};

}  // namespace ballast::agent
