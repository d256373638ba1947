// What a load tells while it goes on, and at its end.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/status.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "worker/model/load_execution.h"
#include "worker/model/stage_meter.h"

namespace ballast::model {

// Turns what happens in a load into messages with their offsets, and collects the result. The observer outlives it. Not
// thread-safe.
class LoadLog {
 public:
  LoadLog(const v1::LoadTask& task, std::chrono::nanoseconds attempt_start, LoadObserver* observer);

  // Ends the phase before and begins this one.
  void BeginPhase(v1::Phase::Kind kind);
  // A runtime was started: it counts from now on.
  void AddRuntime(pid_t pid);
  void BeginStage() { meter_.Begin(); }
  // Returns how long it took.
  std::chrono::nanoseconds EndStage(v1::LoadStage::Kind kind, std::uint64_t weight_bytes, std::uint32_t passes = 0);

  // What is said beside the outcome, one sentence each.
  void AddRemark(const std::string& remark);

  [[nodiscard]] v1::ModelLoadResult* result() { return &result_; }
  [[nodiscard]] StageMeter* meter() { return &meter_; }

  [[nodiscard]] v1::RunnerFinished Complete(const std::string& message);
  // CANCELLED becomes the outcome CANCELLED, ABORTED OOM_KILLED, all else LOAD_FAILED.
  [[nodiscard]] v1::RunnerFinished Fail(const absl::Status& status);
  // The task makes no sense: INVALID.
  [[nodiscard]] v1::RunnerFinished Refuse(const std::string& message);

 private:
  [[nodiscard]] v1::RunnerFinished Finish(v1::OutcomeKind outcome, std::string message);
  void AddEvent(v1::Event::Kind kind, std::string message);

  LoadObserver* observer_;
  StageMeter meter_;
  v1::ModelLoadResult result_;
  std::string remarks_;
};

}  // namespace ballast::model
