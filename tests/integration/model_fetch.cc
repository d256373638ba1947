// A worker's model cache and its client as a program of their own, for tests that stop and kill it at a chosen byte.
//
//   model_fetch COORDINATOR DIRECTORY SHA256 SIZE_BYTES [STOP_AT_BYTES]
//
// Brings the file into DIRECTORY and prints `FILE_SOURCE PATH`. With STOP_AT_BYTES it stops itself (SIGSTOP) as soon as
// that much is in the file.
#include <chrono>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <string>

#include "common/base/logging.h"
#include "worker/agent/model_cache.h"
#include "worker/agent/session/model_client.h"

namespace {

namespace agent = ballast::agent;
namespace v1 = ballast::v1;

class StoppingFetcher final : public agent::ModelFetcher {
 public:
  StoppingFetcher(agent::ModelFetcher* fetcher, std::uint64_t stop_at_bytes)
      : fetcher_(fetcher), stop_at_bytes_(stop_at_bytes) {}

  [[nodiscard]] bool same_machine() const override { return fetcher_->same_machine(); }
  [[nodiscard]] absl::Status Fetch(const v1::FetchModelRequest& request,
                                   const std::function<absl::Status(const v1::FilePiece&)>& visit,
                                   std::chrono::steady_clock::time_point deadline,
                                   const std::stop_token& stop) override {
    const auto stopping = [&](const v1::FilePiece& piece) {
      absl::Status status = visit(piece);
      if (stop_at_bytes_ > 0 && piece.offset_bytes() + piece.content().size() >= stop_at_bytes_) {
        stop_at_bytes_ = 0;
        std::raise(SIGSTOP);
      }
      return status;
    };
    return fetcher_->Fetch(request, stopping, deadline, stop);
  }

 private:
  agent::ModelFetcher* const fetcher_;
  std::uint64_t stop_at_bytes_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  if (!ballast::base::InitLogging("model_fetch", "info").ok()) return 1;
  v1::ResolvedModel model;
  model.set_model_id("model");
  model.set_quant("Q");
  model.mutable_file()->set_sha256(argv[3]);
  model.mutable_file()->set_size_bytes(std::stoull(argv[4]));
  agent::ModelClient client(argv[1], false);
  StoppingFetcher fetcher(&client, argc > 5 ? std::stoull(argv[5]) : 0);
  const auto cache = agent::ModelCache::Open({.directory = argv[2], .named_directories = {"/"}}, &fetcher);
  if (!cache.ok()) {
    std::cerr << cache.status() << "\n";
    return 1;
  }
  const auto ready = (*cache)->Prepare(model, v1::ModelLoad(), {.timeout = std::chrono::minutes(2)}, {});
  if (!ready.ok()) {
    std::cerr << ready.status() << "\n";
    return 1;
  }
  std::cout << ready->file_source << " " << ready->paths[0].string() << "\n";
  return 0;
}
