#include "worker/memory/controlled_test.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"

namespace ballast::memory {
namespace {

constexpr std::uint32_t kSteps = 20;
constexpr std::uint32_t kCycles = 3;
constexpr double kMiB = 1024 * 1024;
constexpr double kLeastPercent = 0.1;

absl::Status CheckTarget(double percent) {
  if (percent > 1 && percent <= 100) return absl::OkStatus();
  if (percent > 0 && percent <= 1) {
    return absl::InvalidArgumentError(fmt::format(
        "target_percent: {} is less than one percent; percentages are written as {:g}", percent, 100 * percent));
  }
  return absl::InvalidArgumentError(fmt::format("target_percent: {} is no percentage from 1 to 100", percent));
}

// Of what moves between memory in use now and the target.
absl::Status CheckAbove(double target_percent, double used_percent, std::string_view mode) {
  if (target_percent > used_percent) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("target_percent: {:.1f} % of memory are in use already, so a {} to {:g} % would hold nothing; raise "
                  "the target",
                  used_percent, mode, target_percent));
}

absl::StatusOr<v1::PressureWorkload> PressureOf(const ControlledTest& test, const TestGround& ground) {
  const double limit = static_cast<double>(ground.limit_bytes);
  const double used_percent = limit > 0 ? 100 * static_cast<double>(ground.used_bytes) / limit : 0;
  if (test.test_mode == "allocate_full") return MemoryPressurer::AllocateFull(5, test.burst_duration);
  if (test.test_mode == "burst") {
    BALLAST_RETURN_IF_ERROR(CheckTarget(test.target_percent));
    return MemoryPressurer::Burst(test.target_percent, test.burst_duration);
  }
  if (test.test_mode == "staircase") {
    BALLAST_RETURN_IF_ERROR(CheckTarget(test.target_percent));
    BALLAST_RETURN_IF_ERROR(CheckAbove(test.target_percent, used_percent, test.test_mode));
    const double step = (test.target_percent - used_percent) / 100 * limit / kSteps;
    return MemoryPressurer::Staircase(std::max(step / kMiB, 1 / kMiB * 4096), test.burst_duration / kSteps, kSteps);
  }
  if (test.test_mode == "sawtooth") {
    BALLAST_RETURN_IF_ERROR(CheckTarget(test.target_percent));
    BALLAST_RETURN_IF_ERROR(CheckAbove(test.target_percent, used_percent, test.test_mode));
    const double middle = std::max((used_percent + test.target_percent) / 2, kLeastPercent);
    return MemoryPressurer::Sawtooth(middle, test.target_percent, kCycles, test.burst_duration);
  }
  return absl::InvalidArgumentError(fmt::format("test_mode: {}; there are staircase, burst, sawtooth and allocate_full",
                                                base::Quoted(test.test_mode)));
}

}  // namespace

absl::StatusOr<v1::JobSpec> JobOf(const ControlledTest& test, const TestGround& ground) {
  BALLAST_ASSIGN_OR_RETURN(v1::PressureWorkload pressure, PressureOf(test, ground));
  v1::JobSpec job;
  if (test.model_id.empty()) {
    job.mutable_workload()->mutable_pressure()->Swap(&pressure);
    return job;
  }
  v1::ModelWorkload* const workload = job.mutable_workload()->mutable_model();
  workload->mutable_load()->set_model_id(test.model_id);
  workload->mutable_load()->set_quant(test.quant);
  workload->mutable_pressure()->Swap(&pressure);
  return job;
}

}  // namespace ballast::memory
