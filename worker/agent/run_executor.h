// Carries out one assignment: from the check of its specification to the last record in the spool.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "ballast/v1/config.pb.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/worker_service.pb.h"
#include "common/base/clock.h"
#include "worker/agent/command_catalogue.h"
#include "worker/agent/model_source.h"
#include "worker/agent/peer_clock.h"
#include "worker/agent/run_control.h"
#include "worker/agent/spool.h"
#include "worker/environment/cgroup_home.h"

namespace ballast::agent {

struct RunExecutorOptions {
  // Program that is started with `--runner`: the worker's own file.
  std::string runner_program;
  // Where runners keep files that hold pages; empty where there is no such place.
  std::string scratch_dir;
  // Where /proc, /sys and /dev are found.
  std::string root = "/";
  // Where runners get cgroups of their own; null for none. Outlives the runs.
  environment::CgroupHome* cgroup_home = nullptr;
  // Where models come from; null where this worker has none. Outlives the runs.
  ModelSource* models = nullptr;
  // What jobs may run on this device; null for nothing. Outlives the runs.
  const CommandCatalogue* commands = nullptr;
  // llama.cpp's server: its path, or a name that is looked for on PATH.
  std::string llama_server = "llama-server";
  // What this device can do; assignments that need something else are refused.
  v1::DeviceFacts device;
  // What it lets jobs do; assignments that want more are refused.
  v1::DevicePolicy policy{};
  const base::Clock* clock = &base::RealClock();
  // How far that clock is from the coordinator's; null where nobody measures it. Outlives the runs.
  const PeerClock* peer_clock = nullptr;
  // A chunk is closed after this time. Longer ones cost fewer bytes a value.
  std::chrono::milliseconds chunk_interval{5000};
  // How often what would be lost with this process is written to the draft: the most evidence a power cut can take.
  std::chrono::milliseconds draft_interval{1000};
  // How often progress is told.
  std::chrono::milliseconds progress_interval{250};
  // How long a runner that was asked to end may take before it is killed.
  std::chrono::milliseconds stop_grace{300};
};

// What a run tells while it goes on. Called from the thread that carries the run out; must not block.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void OnProgress(const v1::RunProgress& progress) = 0;
};

// Why an assignment is not carried out, before anything was started. `commands` may be null.
[[nodiscard]] std::optional<v1::AssignmentRejected> CheckAssignment(
    const v1::Assignment& assignment, const v1::DeviceFacts& device, const CommandCatalogue* commands = nullptr,
    const v1::DevicePolicy& policy = v1::DevicePolicy::default_instance());

// Stateless between runs. Use it from one thread that lives as long as the process (see RunnerProcess::Start).
class RunExecutor {
 public:
  // `spool` outlives the executor.
  RunExecutor(RunExecutorOptions options, Spool* spool) : options_(std::move(options)), spool_(spool) {}

  // Carries the assignment out and returns when it has ended and its records are in the spool's hands: the first is
  // durable before the runner exists, and no process is left after the last. Returns the refusal instead where the
  // assignment cannot be begun.
  [[nodiscard]] std::optional<v1::AssignmentRejected> Execute(const v1::Assignment& assignment, RunControl* control,
                                                              RunObserver* observer);

 private:
  const RunExecutorOptions options_;
  Spool* const spool_;
};

}  // namespace ballast::agent
