// One load of a model and its use: what a load's runner does.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <stop_token>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "ballast/v1/telemetry.pb.h"

namespace ballast::model {

// Hears what happens in a load, on the thread that carries it out, as it happens. Implementations must be quick:
// nothing is loaded meanwhile.
class LoadObserver {
 public:
  virtual ~LoadObserver() = default;
  // PREPARE, LOAD and INFER, each as it begins (and the one before ends), with `load_index`.
  virtual void OnPhase(const v1::Phase& phase) = 0;
  virtual void OnEvent(const v1::Event& event) = 0;
  // The load begins, what comes before it is done; just before the phase LOAD.
  virtual void OnLoadBegin(const v1::LoadBegin& begin) = 0;
  // A stage has ended.
  virtual void OnStage(const v1::LoadStage& stage) = 0;
  // A runtime was started as a child of this process: what it does is to be counted with what this one does.
  virtual void OnRuntime(pid_t pid) = 0;
};

// Carries a load out in this process and blocks until it has ended and everything was given back. `task.load` has its
// defaults filled in, but for `threads`, where 0 means one less than there are processors. Offsets count from
// `attempt_start` (CLOCK_MONOTONIC).
//
// The outcome is COMPLETED; LOAD_FAILED where the file, the kernel or the runtime refused, or the file changed under
// the load; OOM_KILLED where the kernel killed the runtime and left this process; CANCELLED on `stop`; INVALID where
// the task makes no sense. The message is one sentence with the cause, the place and, for a failure, the next step.
// `load` has what only this process knows: index, loader, runtime, lock, sizes, state of the page cache, checksum,
// threads, what the runtime says. Stages are told to the observer as they end and are not in it.
//
// A runtime (llama.cpp) is a child in this process's group and cgroups, and ends before this returns. While the
// built-in loader works, this process's handler of SIGBUS is its own. The process may be OOM-killed in here: call it in
// a runner only.
[[nodiscard]] v1::RunnerFinished ExecuteLoad(const v1::LoadTask& task, std::chrono::nanoseconds attempt_start,
                                             LoadObserver* observer, const std::stop_token& stop);

}  // namespace ballast::model
