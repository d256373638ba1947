// How far a soak has come: its cycles, and when it is over.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/worker_service.pb.h"
#include "ballast/v1/workload.pb.h"
#include "common/metrics/metric_table.h"

namespace ballast::agent {

// Counts cycles and time over all attempts, and keeps what came of the cycles of this one. Pure. Not thread-safe.
class Soak {
 public:
  // `before` is what earlier attempts did.
  Soak(const v1::StabilityWorkload& workload, const v1::SoakProgress& before);

  // Whether another cycle begins, at this time of the attempt. One that was begun is carried out to its end.
  [[nodiscard]] bool Continues(std::chrono::nanoseconds elapsed) const;
  // When the soak is over, by the time of the attempt.
  [[nodiscard]] std::chrono::nanoseconds planned() const;

  // A cycle begins; it is numbered from 1 over all attempts.
  void BeginCycle(std::chrono::nanoseconds elapsed);
  [[nodiscard]] std::uint32_t cycle() const { return cycle_; }
  // A sample of the cycle that goes on.
  void AddSample(const metrics::SampleRow& row, std::uint64_t held_bytes);
  // It has ended: how its pressure did, with what was loaded in it (null: nothing), and a sample of after that.
  void EndCycle(std::chrono::nanoseconds elapsed, const v1::Outcome& outcome, const v1::ModelLoadResult* load,
                const metrics::SampleRow& row);

  // Cycles that ended in this attempt: the first 20,000 of them.
  [[nodiscard]] const std::vector<v1::StabilityCycle>& cycles() const { return cycles_; }
  // How the last one ended, its load counted in.
  [[nodiscard]] v1::OutcomeKind last_outcome() const { return current_.outcome(); }
  // Over all cycles, for people.
  [[nodiscard]] std::string Summary() const;

 private:
  const std::chrono::nanoseconds duration_;
  const std::chrono::nanoseconds elapsed_before_;
  std::uint32_t cycle_;
  v1::StabilityCycle current_;
  std::vector<v1::StabilityCycle> cycles_;
  std::uint32_t ended_ = 0;
  std::uint32_t failed_ = 0;
};

}  // namespace ballast::agent
