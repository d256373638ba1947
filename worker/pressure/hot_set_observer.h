// Tells when the hot set falls behind.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "ballast/v1/telemetry.pb.h"
#include "worker/pressure/hot_set.h"
#include "worker/pressure/pacer.h"
#include "worker/pressure/run_log.h"

namespace ballast::pressure {

// Passes everything on, and adds a LAGGED event when a round of the hot set takes longer than its interval: when that
// begins, and at most once in ten seconds. It looks whenever the engine tells its state, so once a second at least. Not
// thread-safe.
class HotSetObserver final : public PressureObserver {
 public:
  // `report` tells of the hot set; the pointers outlive this. Offsets count from `attempt_start` (CLOCK_MONOTONIC).
  HotSetObserver(std::function<HotSetReport()> report, Pacer* pacer, PressureObserver* observer,
                 std::chrono::nanoseconds attempt_start)
      : report_(std::move(report)), pacer_(pacer), observer_(observer), attempt_start_(attempt_start) {}

  void OnPhase(const v1::Phase& phase) override { observer_->OnPhase(phase); }
  void OnEvent(const v1::Event& event) override { observer_->OnEvent(event); }
  void OnStep(const v1::Step& step) override { observer_->OnStep(step); }
  void OnState(const v1::RunnerState& state) override;

 private:
  std::function<HotSetReport()> report_;
  Pacer* pacer_;
  PressureObserver* observer_;
  std::chrono::nanoseconds attempt_start_;
  bool behind_ = false;
  std::optional<std::chrono::nanoseconds> last_told_;
};

// What came of a hot set, for the message at the end of a run.
[[nodiscard]] std::string Summarise(const HotSetReport& report);

}  // namespace ballast::pressure
