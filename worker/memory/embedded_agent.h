// An agent without a coordinator, in the process of the program that embeds it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/memory_pressurer.h"
#include "ballast/v1/memory_report.pb.h"
#include "ballast/v1/worker_service.pb.h"
#include "worker/agent/model_cache.h"
#include "worker/agent/run_control.h"
#include "worker/agent/run_executor.h"
#include "worker/agent/spool.h"
#include "worker/environment/cgroup_home.h"
#include "worker/memory/local_models.h"
#include "worker/memory/private_directory.h"

namespace ballast::memory {

// Carries jobs out as the worker does, by the same executor, one at a time on a thread of its own: runners are tied to
// that. Thread-safe.
class EmbeddedAgent final : public agent::RunObserver {
 public:
  // Codes of MemoryPressurer::Create.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<EmbeddedAgent>> Create(MemoryPressurerOptions options);
  // Ends what goes on.
  ~EmbeddedAgent() override;

  // As the methods of MemoryPressurer.
  [[nodiscard]] absl::Status Start(const v1::JobSpec& job, MemoryPressurer::ProgressCallback on_progress);
  [[nodiscard]] absl::Status AdjustTarget(double target_percent);
  void Stop();
  [[nodiscard]] absl::StatusOr<v1::PressureTest> Wait();
  [[nodiscard]] bool running() const;

  void OnProgress(const v1::RunProgress& progress) override;

 private:
  // One job.
  struct Test {
    v1::Assignment assignment;
    MemoryPressurer::ProgressCallback on_progress;
    std::unique_ptr<agent::RunControl> control;
  };

  EmbeddedAgent(MemoryPressurerOptions options, PrivateDirectory directory)
      : options_(std::move(options)), directory_(std::move(directory)) {}

  // The job with everything filled in that the options say.
  [[nodiscard]] absl::StatusOr<v1::JobSpec> Complete(const v1::JobSpec& job) const;
  void Loop();
  [[nodiscard]] absl::StatusOr<v1::PressureTest> CarryOut(const Test& test);
  // What the spool has of the test's records, which it forgets then.
  [[nodiscard]] absl::StatusOr<v1::PressureTest> Collect(const v1::Assignment& assignment);

  const MemoryPressurerOptions options_;
  PrivateDirectory directory_;
  std::unique_ptr<environment::CgroupHome> cgroup_home_;
  std::unique_ptr<LocalModels> models_;
  std::unique_ptr<agent::ModelCache> model_cache_;
  std::unique_ptr<agent::Spool> spool_;
  std::optional<agent::RunExecutor> executor_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Test> test_;                            // goes on, or is about to
  std::optional<absl::StatusOr<v1::PressureTest>> last_;  // ended, and nobody has waited for it
  std::uint64_t started_ = 0;
  bool ending_ = false;

  std::thread thread_;
};

}  // namespace ballast::memory
