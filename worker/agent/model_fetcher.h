// Where a model's bytes come from: the coordinator, behind a seam that builds without gRPC.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>

#include "absl/status/status.h"
#include "ballast/v1/model.pb.h"
#include "ballast/v1/worker_service.pb.h"

namespace ballast::agent {

// Thread-safe.
class ModelFetcher {
 public:
  virtual ~ModelFetcher() = default;

  // Whether the coordinator may be on this machine, so that a path is worth asking for.
  [[nodiscard]] virtual bool same_machine() const = 0;

  // Asks for the file once, and gives each piece to `visit`, in order, until all is there, `visit` fails (its status is
  // returned), `deadline` (DEADLINE_EXCEEDED) or `stop` (CANCELLED). UNAVAILABLE: the coordinator is not there, or went
  // away; codes of WorkerService.FetchModel.
  [[nodiscard]] virtual absl::Status Fetch(const v1::FetchModelRequest& request,
                                           const std::function<absl::Status(const v1::FilePiece&)>& visit,
                                           std::chrono::steady_clock::time_point deadline,
                                           const std::stop_token& stop) = 0;
};

}  // namespace ballast::agent
