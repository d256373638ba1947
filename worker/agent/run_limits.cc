#include "worker/agent/run_limits.h"

#include <algorithm>

#include "common/base/clock.h"
#include "worker/agent/load_plan.h"

namespace ballast::agent {
namespace {

constexpr double kYearSeconds = 365.0 * 86400.0;
constexpr std::chrono::minutes kSpareTime(10);

double Seconds(const google::protobuf::Duration& duration) {
  return base::ToSeconds(base::FromProto(duration));
}

double PatternSeconds(const v1::PressureWorkload& pressure) {
  switch (pressure.pattern_case()) {
    case v1::PressureWorkload::kStaircase:
      return Seconds(pressure.staircase().interval()) * pressure.staircase().steps();
    case v1::PressureWorkload::kBurst:
      return Seconds(pressure.burst().duration());
    case v1::PressureWorkload::kSawtooth:
      return Seconds(pressure.sawtooth().cycle_duration()) * pressure.sawtooth().cycles();
    case v1::PressureWorkload::kAllocateFull:
      return Seconds(pressure.allocate_full().hold());
    case v1::PressureWorkload::kTrace:
      return pressure.trace().points().empty() ? 0 : Seconds(pressure.trace().points().rbegin()->offset());
    case v1::PressureWorkload::PATTERN_NOT_SET:
      break;
  }
  return 0;
}

double PressureSeconds(const v1::PressureWorkload& pressure) {
  return Seconds(pressure.baseline()) + PatternSeconds(pressure) + Seconds(pressure.recovery());
}

// Loads of models in a run; in the last cycle, for a soak.
double LoadCount(const v1::Workload& workload) {
  if (workload.has_model()) return workload.model().loads();
  if (!workload.has_quantization()) return 1;
  constexpr int kMostLevels = 32;  // where none is named, all of the catalogue's are loaded
  const int named = workload.quantization().quant_levels_size();
  return static_cast<double>(named > 0 ? named : kMostLevels) * workload.quantization().loads_per_level();
}

double WorkloadSeconds(const v1::Workload& workload) {
  switch (workload.kind_case()) {
    case v1::Workload::kPressure:
      return PressureSeconds(workload.pressure());
    case v1::Workload::kModel:
      return PressureSeconds(workload.model().pressure()) +
             Seconds(workload.model().load().use_duration()) * workload.model().loads();
    case v1::Workload::kQuantization:
      return PressureSeconds(workload.quantization().pressure()) +
             Seconds(workload.quantization().load().use_duration()) * LoadCount(workload);
    case v1::Workload::kStability:
      return Seconds(workload.stability().duration());
    case v1::Workload::kCommand:
      return PressureSeconds(workload.command().pressure());
    case v1::Workload::kCapacity:
      return Seconds(workload.capacity().hold());
    case v1::Workload::KIND_NOT_SET:
      break;
  }
  return 0;
}

}  // namespace

std::chrono::nanoseconds PlannedDuration(const v1::Workload& workload) {
  // In floating point: a million steps of a day each are more than 64 bits of nanoseconds hold.
  const std::chrono::duration<double> planned(std::clamp(WorkloadSeconds(workload), 0.0, kYearSeconds));
  return std::chrono::duration_cast<std::chrono::nanoseconds>(planned);
}

std::chrono::nanoseconds RunTimeout(const v1::JobSpec& spec, std::chrono::nanoseconds planned) {
  const std::chrono::nanoseconds asked = base::FromProto(spec.policy().timeout());
  if (asked > std::chrono::nanoseconds(0)) return asked;
  const v1::ModelLoad* const load = LoadOf(spec.workload());
  const v1::CommandWorkload& command = spec.workload().command();
  const double beside = load == nullptr ? Seconds(command.timeout()) * command.executions()
                                        : Seconds(load->timeout()) * LoadCount(spec.workload());
  const std::chrono::duration<double> for_others(std::min(beside, kYearSeconds));
  return 3 * planned + std::chrono::duration_cast<std::chrono::nanoseconds>(for_others) + kSpareTime;
}

}  // namespace ballast::agent
