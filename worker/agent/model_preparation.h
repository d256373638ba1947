// Makes a run's models ready before anything is measured.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/model.pb.h"
#include "ballast/v1/workload.pb.h"
#include "common/base/fd.h"
#include "worker/agent/model_source.h"

namespace ballast::agent {

// Has the source prepare each model, one after the other, on a thread of its own: that takes minutes where gigabytes
// move. A model that cannot be made ready does not keep the others from it. The public methods are for one thread.
class ModelPreparation {
 public:
  // `source` outlives this; null where this worker has none. Codes of ErrnoStatus.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ModelPreparation>> Start(ModelSource* source,
                                                                               std::vector<v1::ResolvedModel> models,
                                                                               v1::ModelLoad load,
                                                                               std::uint64_t limit_bytes);
  // Stops it, and waits.
  ~ModelPreparation();

  // Readable when it is over: for poll().
  [[nodiscard]] int fd() const { return over_fd_.get(); }
  [[nodiscard]] bool over() const { return over_; }
  // Asks it to end soon.
  void Stop() { thread_.request_stop(); }

  // What moves now.
  [[nodiscard]] PrepareProgress progress() const;
  [[nodiscard]] std::string quant() const;

  // When it is over: the models in the order in which they were given, each ready or with the reason why not.
  [[nodiscard]] const std::vector<v1::ResolvedModel>& models() const { return models_; }
  [[nodiscard]] const absl::StatusOr<ReadyModel>& ready(int model) const {
    return ready_[static_cast<std::size_t>(model)];
  }

 private:
  ModelPreparation(std::vector<v1::ResolvedModel> models, v1::ModelLoad load, std::uint64_t limit_bytes)
      : models_(std::move(models)), load_(std::move(load)), limit_bytes_(limit_bytes) {}
  void Work(ModelSource* source, const std::stop_token& stop);

  const std::vector<v1::ResolvedModel> models_;
  const v1::ModelLoad load_;
  const std::uint64_t limit_bytes_;
  base::Fd over_fd_;
  std::atomic<bool> over_ = false;
  std::vector<absl::StatusOr<ReadyModel>> ready_;  // the thread's until it is over

  mutable std::mutex mutex_;
  PrepareProgress progress_;
  std::string quant_;

  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace ballast::agent
