#include "worker/agent/device_policy.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/base/clock.h"
#include "common/base/units.h"
#include "common/gguf/model_shape.h"
#include "common/gguf/quant_mix.h"
#include "common/gguf/synthetic_model.h"
#include "common/jobs/workload_parts.h"
#include "worker/agent/run_limits.h"

namespace ballast::agent {
namespace {

constexpr double kEverything = 100;

// The name of the workload's kind, as jobs and the configuration have it.
std::string KindOf(const v1::Workload& workload) {
  const google::protobuf::FieldDescriptor* const kind =
      workload.GetReflection()->GetOneofFieldDescriptor(workload, workload.GetDescriptor()->FindOneofByName("kind"));
  return kind == nullptr ? "" : std::string(kind->name());
}

bool IsAllowed(const v1::DevicePolicy& policy, std::string_view kind) {
  return policy.workloads().empty() || std::ranges::find(policy.workloads(), kind) != policy.workloads().end();
}

std::string Percent(double value) {
  return fmt::format("{:.4g}%", value);
}

std::string Time(std::chrono::nanoseconds duration) {
  return base::DurationToText(duration);
}

// What percentages of this job are of, in bytes; zero where that is not known.
std::uint64_t LimitOf(const v1::JobSpec& spec, const v1::DeviceFacts& device) {
  const std::uint64_t machine = device.limit_bytes() > 0 ? device.limit_bytes() : device.memory_bytes();
  const std::uint64_t profile = spec.environment_profile().memory_bytes();
  return profile > 0 && (machine == 0 || profile < machine) ? profile : machine;
}

double PercentOf(double bytes, std::uint64_t limit_bytes) {
  return limit_bytes == 0 ? kEverything : bytes * 100 / static_cast<double>(limit_bytes);
}

bool GoesToTheOomKill(const v1::PressureWorkload& pressure) {
  return pressure.allocate_full().until() == v1::AllocateFullPattern::OOM;
}

// How much the pattern by itself aims at.
double PatternPercent(const v1::PressureWorkload& pressure, std::uint64_t limit_bytes) {
  switch (pressure.pattern_case()) {
    case v1::PressureWorkload::kStaircase:
      return PercentOf(static_cast<double>(pressure.staircase().step_size_bytes()) * pressure.staircase().steps(),
                       limit_bytes);
    case v1::PressureWorkload::kBurst:
      switch (pressure.burst().target_case()) {
        case v1::BurstPattern::kTargetPercent:
          return pressure.burst().target_percent();
        case v1::BurstPattern::kTargetBytes:
          return PercentOf(static_cast<double>(pressure.burst().target_bytes()), limit_bytes);
        default:
          return kEverything;
      }
    case v1::PressureWorkload::kSawtooth:
      return pressure.sawtooth().max_percent();
    case v1::PressureWorkload::kTrace: {
      double most = 0;
      for (const v1::TracePoint& point : pressure.trace().points()) {
        most = std::max(most, point.has_used_bytes() ? PercentOf(static_cast<double>(point.used_bytes()), limit_bytes)
                                                     : point.used_percent());
      }
      return most;
    }
    default:
      return kEverything;
  }
}

// How much of the limit the job may take at most, as far as it says; nothing where it has no pressure.
std::optional<double> MostPercent(const v1::JobSpec& spec, const v1::DeviceFacts& device) {
  if (spec.workload().has_capacity()) return kEverything;
  const v1::PressureWorkload* const pressure = jobs::PressureOf(spec.workload());
  if (pressure == nullptr) return std::nullopt;
  if (GoesToTheOomKill(*pressure)) return kEverything;
  return std::min(
      {PatternPercent(*pressure, LimitOf(spec, device)), kEverything - pressure->floor_percent(), kEverything});
}

// The bytes that the model's file takes here; the greatest of what is said of it, and of what it would be.
std::uint64_t FileBytes(const v1::ResolvedModel& model) {
  std::uint64_t bytes = std::max(model.description().file_bytes(), model.file().size_bytes());
  if (!model.has_synthetic()) return bytes;
  const auto shape = gguf::FindShape(model.synthetic().shape());
  const auto level = gguf::FindQuantLevel(model.quant());
  if (shape.ok() && level.ok()) {  // otherwise it is never made
    bytes = std::max(bytes, gguf::SyntheticModel(*shape, *level, model.synthetic().seed()).file_size_bytes());
  }
  return bytes;
}

class PolicyCheck {
 public:
  PolicyCheck(const v1::DevicePolicy& policy, const v1::Assignment& assignment, const v1::DeviceFacts& device)
      : policy_(policy), assignment_(assignment), spec_(assignment.spec()), device_(device) {}

  absl::Status Run() {
    CheckKind();
    CheckPressure();
    CheckGuard();
    CheckTime();
    CheckModels();
    if (problems_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(fmt::format("{}", fmt::join(problems_, "; ")));
  }

 private:
  void Refuse(std::string_view field, const std::string& allowed, const std::string& wanted) {
    problems_.push_back(fmt::format("policy.{} is {} on this device; the job wants {}", field, allowed, wanted));
  }

  void CheckKind() {
    const std::string kind = KindOf(spec_.workload());
    if (!IsAllowed(policy_, kind)) Refuse("workloads", fmt::format("[{}]", fmt::join(policy_.workloads(), ", ")), kind);
  }

  void CheckPressure() {
    const double bound = policy_.max_pressure_percent();
    const std::optional<double> most = MostPercent(spec_, device_);
    if (bound > 0 && most && *most > bound) Refuse("max_pressure_percent", Percent(bound), Percent(*most));
  }

  void CheckGuard() {
    if (!policy_.forbid_unguarded()) return;
    const v1::PressureWorkload* const pressure = jobs::PressureOf(spec_.workload());
    if (pressure != nullptr && GoesToTheOomKill(*pressure)) {
      Refuse("forbid_unguarded", "true", "a load that goes on to the OOM kill (allocate_full.until: OOM)");
    }
    if (spec_.workload().has_capacity()) Refuse("forbid_unguarded", "true", "a search for what the device survives");
    if (spec_.guard().mode() == v1::GuardSpec::OFF) {
      Refuse("forbid_unguarded", "true", "the guard switched off (guard.mode: OFF)");
    }
  }

  void CheckTime() {
    const std::optional<std::chrono::nanoseconds> bound = LongestRun(policy_);
    if (!bound) return;
    const std::chrono::nanoseconds planned =
        PlannedDuration(spec_.workload()) + base::FromProto(spec_.validity().settle());
    const std::chrono::nanoseconds timeout = base::FromProto(spec_.policy().timeout());
    if (planned > *bound) {
      Refuse("max_run_time", Time(*bound), fmt::format("{} by its plan", Time(planned)));
    } else if (timeout > *bound) {
      Refuse("max_run_time", Time(*bound), fmt::format("{} (policy.timeout)", Time(timeout)));
    }
  }

  void CheckModels() {
    const std::uint64_t bound = policy_.max_model_bytes();
    if (bound == 0) return;
    for (const v1::ResolvedModel& model : assignment_.models()) {
      const std::uint64_t bytes = FileBytes(model);
      if (bytes <= bound) continue;
      Refuse("max_model_bytes", base::FormatBytes(bound),
             fmt::format("{} {}, which has {}", model.model_id(), model.quant(), base::FormatBytes(bytes)));
    }
  }

  const v1::DevicePolicy& policy_;
  const v1::Assignment& assignment_;
  const v1::JobSpec& spec_;
  const v1::DeviceFacts& device_;
  std::vector<std::string> problems_;
};

v1::PressureWorkload* MutablePressureOf(v1::Workload* workload) {
  // The one that jobs::PressureOf finds, in the same message.
  return const_cast<v1::PressureWorkload*>(jobs::PressureOf(*workload));
}

}  // namespace

absl::Status CheckDevicePolicy(const v1::DevicePolicy& policy, const v1::Assignment& assignment,
                               const v1::DeviceFacts& device) {
  return PolicyCheck(policy, assignment, device).Run();
}

void ApplyDevicePolicy(const v1::DevicePolicy& policy, v1::JobSpec* spec) {
  v1::PressureWorkload* const pressure = MutablePressureOf(spec->mutable_workload());
  if (policy.max_pressure_percent() <= 0 || pressure == nullptr || !pressure->has_staircase()) return;
  pressure->set_floor_percent(std::max(pressure->floor_percent(), kEverything - policy.max_pressure_percent()));
}

std::optional<std::chrono::nanoseconds> LongestRun(const v1::DevicePolicy& policy) {
  const std::chrono::nanoseconds bound = base::FromProto(policy.max_run_time());
  return bound > std::chrono::nanoseconds(0) ? std::optional(bound) : std::nullopt;
}

void AddPolicyFacts(const v1::DevicePolicy& policy, v1::DeviceFacts* facts) {
  const auto add = [facts](const std::string& sentence) {
    facts->add_limitations(fmt::format("By the worker's configuration {}.", sentence));
  };
  if (!policy.workloads().empty()) {
    add(fmt::format("only these workloads are taken (policy.workloads): {}", fmt::join(policy.workloads(), ", ")));
  }
  if (policy.max_pressure_percent() > 0) {
    add(fmt::format("pressure takes at most {} (policy.max_pressure_percent)", Percent(policy.max_pressure_percent())));
  }
  if (policy.forbid_unguarded()) add("no load goes on unguarded (policy.forbid_unguarded)");
  if (policy.max_model_bytes() > 0) {
    add(fmt::format("model files have at most {} (policy.max_model_bytes)",
                    base::FormatBytes(policy.max_model_bytes())));
  }
  if (const auto longest = LongestRun(policy)) {
    add(fmt::format("a run takes at most {} (policy.max_run_time)", Time(*longest)));
  }
}

}  // namespace ballast::agent
