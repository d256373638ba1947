#include "ballast/memory_pressurer.h"

#include <algorithm>
#include <cmath>

#include <utility>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "worker/memory/embedded_agent.h"

namespace ballast {

absl::StatusOr<std::unique_ptr<MemoryPressurer>> MemoryPressurer::Create(MemoryPressurerOptions options) {
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<memory::EmbeddedAgent> agent,
                           memory::EmbeddedAgent::Create(std::move(options)));
  return std::unique_ptr<MemoryPressurer>(new MemoryPressurer(std::move(agent)));
}

MemoryPressurer::MemoryPressurer(std::unique_ptr<memory::EmbeddedAgent> agent) : agent_(std::move(agent)) {}

MemoryPressurer::~MemoryPressurer() = default;

absl::Status MemoryPressurer::Start(const v1::PressureWorkload& pressure, ProgressCallback on_progress) {
  v1::JobSpec job;
  *job.mutable_workload()->mutable_pressure() = pressure;
  return Start(job, std::move(on_progress));
}

absl::Status MemoryPressurer::Start(const v1::JobSpec& job, ProgressCallback on_progress) {
  return agent_->Start(job, std::move(on_progress));
}

absl::Status MemoryPressurer::AdjustTarget(double target_percent) {
  return agent_->AdjustTarget(target_percent);
}

void MemoryPressurer::Stop() {
  agent_->Stop();
}

absl::StatusOr<v1::PressureTest> MemoryPressurer::Wait() {
  return agent_->Wait();
}

absl::StatusOr<v1::PressureTest> MemoryPressurer::Run(const v1::PressureWorkload& pressure,
                                                      ProgressCallback on_progress) {
  BALLAST_RETURN_IF_ERROR(Start(pressure, std::move(on_progress)));
  return Wait();
}

absl::StatusOr<v1::PressureTest> MemoryPressurer::Run(const v1::JobSpec& job, ProgressCallback on_progress) {
  BALLAST_RETURN_IF_ERROR(Start(job, std::move(on_progress)));
  return Wait();
}

bool MemoryPressurer::running() const {
  return agent_->running();
}

v1::PressureWorkload MemoryPressurer::Staircase(double step_size_mib, std::chrono::nanoseconds interval,
                                                std::uint32_t steps) {
  v1::PressureWorkload pressure;
  // What is no size is left for the validation of the job to refuse.
  const double bytes = std::clamp(step_size_mib * 1024 * 1024, 0.0, 0x1p62);
  pressure.mutable_staircase()->set_step_size_bytes(
      std::isnan(bytes) ? 1 : std::max<std::uint64_t>(1, static_cast<std::uint64_t>(bytes)));
  *pressure.mutable_staircase()->mutable_interval() = base::ToProto(interval);
  pressure.mutable_staircase()->set_steps(steps);
  return pressure;
}

v1::PressureWorkload MemoryPressurer::Burst(double target_percent, std::chrono::nanoseconds duration) {
  v1::PressureWorkload pressure;
  pressure.mutable_burst()->set_target_percent(target_percent);
  *pressure.mutable_burst()->mutable_duration() = base::ToProto(duration);
  return pressure;
}

v1::PressureWorkload MemoryPressurer::Sawtooth(double min_percent, double max_percent, std::uint32_t cycles,
                                               std::chrono::nanoseconds cycle_duration) {
  v1::PressureWorkload pressure;
  pressure.mutable_sawtooth()->set_min_percent(min_percent);
  pressure.mutable_sawtooth()->set_max_percent(max_percent);
  pressure.mutable_sawtooth()->set_cycles(cycles);
  *pressure.mutable_sawtooth()->mutable_cycle_duration() = base::ToProto(cycle_duration);
  return pressure;
}

v1::PressureWorkload MemoryPressurer::AllocateFull(double floor_percent, std::chrono::nanoseconds hold) {
  v1::PressureWorkload pressure;
  pressure.mutable_allocate_full()->set_until(v1::AllocateFullPattern::FLOOR);
  *pressure.mutable_allocate_full()->mutable_hold() = base::ToProto(hold);
  pressure.set_floor_percent(floor_percent);
  return pressure;
}

}  // namespace ballast
