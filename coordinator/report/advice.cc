#include "coordinator/report/advice.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <ranges>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/units.h"
#include "common/gguf/memory_estimate.h"
#include "coordinator/report/model_comparison.h"

namespace ballast::report {
namespace {

std::string SecondsText(double seconds) {
  return base::FormatDuration(std::chrono::nanoseconds(std::llround(std::clamp(seconds, 0.0, 1e9) * 1e9)));
}

double LimitSeconds(const v1::ModelLimits& limits) {
  return base::ToSeconds(base::FromProto(limits.max_load()));
}

bool HasTimeLimit(const v1::ModelLimits& limits) {
  return limits.has_max_load() || limits.min_passes_per_second() > 0;
}

v1::DeviceAdvice Verdict(bool fits, std::string reason, v1::DeviceAdvice::Basis basis) {
  v1::DeviceAdvice advice;
  advice.set_fits(fits);
  advice.set_reason(std::move(reason));
  advice.set_basis(basis);
  advice.set_estimated(basis == v1::DeviceAdvice::ESTIMATED || basis == v1::DeviceAdvice::NOTHING);
  return advice;
}

v1::DeviceAdvice Measured(bool fits, std::string reason) {
  return Verdict(fits, std::move(reason), v1::DeviceAdvice::MEASURED);
}

v1::DeviceAdvice Estimated(bool fits, std::string reason) {
  return Verdict(fits, std::move(reason), v1::DeviceAdvice::ESTIMATED);
}

v1::DeviceAdvice Unknown(std::string reason) {
  return Verdict(false, std::move(reason), v1::DeviceAdvice::NOTHING);
}

// What the load needs and the device lacks, for people; empty where it lacks nothing.
std::string WhatIsMissing(const v1::ModelLoad& load, const v1::Device& device) {
  if (load.runtime() != v1::ModelLoad::LLAMA_CPP) return {};
  const auto& capabilities = device.facts().capabilities();
  const bool there = std::ranges::find(capabilities, v1::RUNTIME_LLAMA_CPP) != capabilities.end();
  return there ? "" : "llama.cpp is not installed there";
}

// By loads on the device itself.
v1::DeviceAdvice JudgeMeasured(const v1::LevelSummary& level, const v1::ModelLimits& limits) {
  std::string survived = fmt::format("{} of {} loads survived", level.survived_count(), level.load_count());
  if (level.survived_count() < level.load_count()) {
    std::vector<std::string> ends;
    for (const v1::OutcomeCount& outcome : level.outcomes()) {
      if (outcome.outcome() == v1::COMPLETED || outcome.outcome() == v1::CANCELLED) continue;
      ends.push_back(fmt::format("{} {}", outcome.count(), v1::OutcomeKind_Name(outcome.outcome())));
    }
    return Measured(false, fmt::format("{}: {}", survived, fmt::join(ends, ", ")));
  }
  const v1::FigureStatistics* time = FindFigure(level.figures(), "time_to_first_pass_seconds");
  const v1::FigureStatistics* rate = FindFigure(level.figures(), "passes_per_second");
  const v1::FigureStatistics* peak = FindFigure(level.figures(), "peak_load_resident_bytes");
  const auto peak_bytes = peak == nullptr ? 0 : static_cast<std::uint64_t>(peak->max());
  if (limits.has_max_load()) {
    if (time == nullptr) return Measured(false, "the time to the end of the first pass was not measured");
    if (time->median() > LimitSeconds(limits)) {
      return Measured(false, fmt::format("first pass over after {}, {} at most are asked for",
                                         SecondsText(time->median()), SecondsText(LimitSeconds(limits))));
    }
  }
  if (limits.min_passes_per_second() > 0) {
    if (rate == nullptr) return Measured(false, "no passes after the first one were measured");
    if (rate->median() < limits.min_passes_per_second()) {
      return Measured(false, fmt::format("{} passes/s, {} at least are asked for", RateText(rate->median()),
                                         RateText(limits.min_passes_per_second())));
    }
  }
  if (limits.max_resident_bytes() > 0) {
    if (peak == nullptr) return Measured(false, "its memory was not measured");
    if (peak_bytes > limits.max_resident_bytes()) {
      return Measured(false,
                      fmt::format("{} resident at the peak, {} at most are asked for", base::FormatBytes(peak_bytes),
                                  base::FormatBytes(limits.max_resident_bytes())));
    }
  }
  std::string reason = std::move(survived);
  if (time != nullptr) reason += fmt::format(", first pass over after {}", SecondsText(time->median()));
  if (rate != nullptr) reason += fmt::format(", {} passes/s", RateText(rate->median()));
  if (peak != nullptr) reason += fmt::format(", peak {}", base::FormatBytes(peak_bytes));
  return Measured(true, std::move(reason));
}

// Memory that a pressure leaves to others while the model is loaded; nothing where that cannot be told beforehand.
std::optional<std::uint64_t> RoomBeside(const v1::LoadConditions& conditions, const v1::DeviceFacts& facts) {
  const std::uint64_t limit = facts.limit_bytes();
  const std::uint64_t available = facts.limit_available_bytes() > 0 ? facts.limit_available_bytes() : limit;
  const auto beside_percent = [limit](double percent) {
    return static_cast<std::uint64_t>(static_cast<double>(limit) * std::clamp(100 - percent, 0.0, 100.0) / 100);
  };
  const v1::PressureWorkload& pressure = conditions.pressure();
  switch (pressure.pattern_case()) {
    case v1::PressureWorkload::PATTERN_NOT_SET:
      return available;
    case v1::PressureWorkload::kBurst:
      if (pressure.burst().target_case() == v1::BurstPattern::kTargetPercent) {
        return std::min(available, beside_percent(pressure.burst().target_percent()));
      }
      if (pressure.burst().target_case() == v1::BurstPattern::kTargetBytes) {
        return std::min(available, limit - std::min(limit, pressure.burst().target_bytes()));
      }
      return std::nullopt;
    case v1::PressureWorkload::kSawtooth:
      return std::min(available, beside_percent(pressure.sawtooth().max_percent()));
    default:
      return std::nullopt;
  }
}

// By what the file's header and the device's facts say.
v1::DeviceAdvice JudgeEstimated(const v1::ModelDescription* model, const v1::Device& device,
                                const AdviceInputs& inputs) {
  if (model == nullptr || model->weight_bytes() == 0) {
    return Unknown("not measured, and what its file holds is not known");
  }
  if (device.facts().limit_bytes() == 0) {
    return Unknown("not measured, and how much memory the device has is not known");
  }
  const std::optional<std::uint64_t> room = RoomBeside(inputs.comparison.conditions(), device.facts());
  if (!room.has_value()) {
    return Unknown("not measured, and what this pressure leaves cannot be told beforehand");
  }
  const v1::MemoryEstimate estimate = gguf::EstimateMemory(*model, inputs.load);
  const std::uint64_t needed = estimate.resident_bytes();
  const std::string compared =
      fmt::format("takes {} by estimate, {} are there", base::FormatBytes(needed), base::FormatBytes(*room));
  if (needed > *room) {
    const bool survives = estimate.required_bytes() <= *room;
    return Estimated(false, compared + (survives ? ": it would be read from the disk again and again" : ""));
  }
  if (inputs.limits.max_resident_bytes() > 0 && needed > inputs.limits.max_resident_bytes()) {
    return Estimated(false, fmt::format("takes {} by estimate, {} at most are asked for", base::FormatBytes(needed),
                                        base::FormatBytes(inputs.limits.max_resident_bytes())));
  }
  if (HasTimeLimit(inputs.limits)) {
    return Unknown(compared + "; how fast it is, only a run tells");
  }
  return Estimated(true, compared);
}

// Every level that was measured on one of the devices or whose file is known, least quality first.
std::vector<std::string> Levels(const AdviceInputs& inputs) {
  std::map<std::string, std::uint64_t> sizes;
  for (const auto& [quant, description] : inputs.descriptions) sizes[quant] = description.file_bytes();
  for (const v1::LevelSummary& level : inputs.comparison.levels()) {
    std::uint64_t& bytes = sizes[level.quant()];
    bytes = std::max(bytes, level.file_bytes());
  }
  return OrderLevels(sizes);
}

v1::LevelAdvice JudgeLevel(const std::string& quant, double min_devices_percent, const AdviceInputs& inputs) {
  v1::LevelAdvice advice;
  advice.set_quant(quant);
  const auto description = inputs.descriptions.find(quant);
  for (const v1::Device& device : inputs.devices) {
    const auto measured = std::ranges::find_if(inputs.comparison.by_device(), [&](const v1::LevelSummary& level) {
      return level.quant() == quant && level.device_id() == device.device_id() && level.load_count() > 0;
    });
    v1::DeviceAdvice& verdict = *advice.add_devices();
    if (std::string missing = WhatIsMissing(inputs.load, device); !missing.empty()) {
      verdict = Verdict(false, std::move(missing), v1::DeviceAdvice::DEVICE_FACTS);
    } else if (measured != inputs.comparison.by_device().end()) {
      verdict = JudgeMeasured(*measured, inputs.limits);
    } else {
      verdict =
          JudgeEstimated(description == inputs.descriptions.end() ? nullptr : &description->second, device, inputs);
    }
    verdict.set_device_id(device.device_id());
    verdict.set_device_name(NameOf(device.device_id(), inputs.devices));
    if (verdict.fits()) advice.set_fitting_device_count(advice.fitting_device_count() + 1);
  }
  const double devices = advice.devices_size();
  // A hair less, so that 80 % of 5 are 4 whatever the rounding.
  advice.set_fits(devices > 0 && 100.0 * advice.fitting_device_count() >= min_devices_percent * devices - 1e-9);
  return advice;
}

bool AnyEstimate(const v1::LevelAdvice& level) {
  return std::ranges::any_of(level.devices(), [](const v1::DeviceAdvice& d) { return d.fits() && d.estimated(); });
}

// Why a level does not meet the limits: on the first device where it does not.
std::string WhyNot(const v1::LevelAdvice& level) {
  const auto failing = std::ranges::find(level.devices(), false, &v1::DeviceAdvice::fits);
  if (failing == level.devices().end()) return {};
  if (level.devices_size() == 1) return failing->reason();
  const int others = level.devices_size() - static_cast<int>(level.fitting_device_count()) - 1;
  return fmt::format("{}: {}{}", failing->device_name(), failing->reason(),
                     others == 0 ? "" : fmt::format(" (and {} more device{})", others, others == 1 ? "" : "s"));
}

bool HasLimits(const v1::ModelLimits& limits) {
  return HasTimeLimit(limits) || limits.max_resident_bytes() > 0;
}

// Where a level has to fit: ` on all 3 devices`; empty for one device.
std::string Where(const v1::ModelAdvice& advice) {
  if (advice.device_count() == 1) return {};
  const double percent = advice.limits().min_devices_percent();
  return percent >= 100 ? fmt::format(" on all {} devices", advice.device_count())
                        : fmt::format(" on {:.4g} % of {} devices", percent, advice.device_count());
}

// Why no level is advised.
std::string WhyNone(const v1::ModelAdvice& advice) {
  // The level that comes nearest: the best of those that most devices can have.
  const auto nearest = std::ranges::max_element(advice.levels(), {}, &v1::LevelAdvice::fitting_device_count);
  const bool somewhere = nearest->fitting_device_count() > 0;
  const v1::LevelAdvice& level = somewhere ? *nearest : advice.levels(advice.levels_size() - 1);
  const auto failing = std::ranges::find(level.devices(), false, &v1::DeviceAdvice::fits);
  const bool unknown = failing->basis() == v1::DeviceAdvice::NOTHING;
  const bool lacking = failing->basis() == v1::DeviceAdvice::DEVICE_FACTS;
  const std::string where = Where(advice);
  std::string reason;
  if (HasLimits(advice.limits())) {
    reason = fmt::format("no level {} the limits{}", unknown ? "is known to meet" : "meets", where);
  } else {
    reason = fmt::format("no level {}{}", unknown ? "is known to fit" : "fits", where);
  }
  if (somewhere) {
    return fmt::format("{}; {} comes nearest, on {} of {}, but not on {}", reason, level.quant(),
                       level.fitting_device_count(), level.devices_size(), WhyNot(level));
  }
  // Whatever the level, it is the device.
  if (lacking) return fmt::format("{}: {}", reason, WhyNot(level));
  return fmt::format("{}; {} {}: {}", reason, unknown ? "of" : "not even", level.quant(), WhyNot(level));
}

std::string Reason(const v1::ModelAdvice& advice) {
  if (advice.levels().empty()) return fmt::format("no level of {} is known", advice.model_id());
  if (advice.device_count() == 0) return "there is no device to advise on";
  const auto chosen = std::ranges::find(advice.levels(), true, &v1::LevelAdvice::fits);
  if (chosen == advice.levels().end()) return WhyNone(advice);
  std::string reason = fmt::format("{} is the best level that {}", chosen->quant(),
                                   HasLimits(advice.limits()) ? "meets the limits" : "fits");
  if (chosen->devices_size() > 1) {
    reason += fmt::format(" on {} of {} devices", chosen->fitting_device_count(), chosen->devices_size());
  }
  const auto estimates =
      std::ranges::count_if(chosen->devices(), [](const v1::DeviceAdvice& d) { return d.fits() && d.estimated(); });
  if (estimates == chosen->fitting_device_count()) {
    reason += estimates == 1 ? ", by an estimate only" : ", by estimates only";
  } else if (estimates > 0) {
    reason += fmt::format(", on {} of them by an estimate", estimates);
  }
  if (chosen->devices_size() == 1) reason += fmt::format(" ({})", chosen->devices(0).reason());
  if (chosen == advice.levels().begin()) return reason;
  const v1::LevelAdvice& next = *std::prev(chosen);
  const auto failing = std::ranges::find(next.devices(), false, &v1::DeviceAdvice::fits);
  return fmt::format("{}; {} {}: {}", reason, next.quant(),
                     failing->basis() == v1::DeviceAdvice::NOTHING ? "is not known to" : "does not", WhyNot(next));
}

}  // namespace

v1::ModelAdvice AdviseOnLevels(const AdviceInputs& inputs) {
  v1::ModelAdvice advice;
  advice.set_model_id(inputs.comparison.model_id());
  *advice.mutable_limits() = inputs.limits;
  if (advice.limits().min_devices_percent() <= 0) advice.mutable_limits()->set_min_devices_percent(100);
  *advice.mutable_conditions() = inputs.comparison.conditions();
  advice.set_device_count(static_cast<std::uint32_t>(inputs.devices.size()));
  for (const std::string& quant : Levels(inputs) | std::views::reverse) {
    v1::LevelAdvice& level = *advice.add_levels();
    level = JudgeLevel(quant, advice.limits().min_devices_percent(), inputs);
    if (!level.fits() || !advice.current_optimal().empty()) continue;
    advice.set_current_optimal(quant);
    advice.set_estimated(AnyEstimate(level));
  }
  advice.set_reason(Reason(advice));
  for (std::string& inversion : FindInversions(inputs.comparison, inputs.devices)) {
    advice.add_inversions(std::move(inversion));
  }
  return advice;
}

}  // namespace ballast::report
