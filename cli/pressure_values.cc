#include "cli/pressure_values.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstdint>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/job_flags.h"
#include "cli/key_value.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/config/field_rules.h"
#include "common/config/field_text.h"
#include "common/config/field_value.h"

namespace ballast::cli {
namespace {

constexpr char kAllocateFull[] = "allocate_full";

// The bound that its own field has.
double MostRatio() {
  return config::RulesOf(*v1::PageContent::descriptor()->FindFieldByName("compression_ratio")).max();
}

}  // namespace

absl::Status SetContent(const std::string& flag, const std::string& /*mode*/, const std::string& text,
                        v1::JobSpec* spec) {
  const std::size_t colon = text.find(':');
  const auto wrong = [&flag](const std::string& problem) {
    return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: {}", flag, problem)),
                        fmt::format("{0} random, {0} zero or {0} compressible:2", flag));
  };
  BALLAST_ASSIGN_OR_RETURN(const int kind,
                           ParseEnumName(flag, text.substr(0, colon), *v1::PageContent::Kind_descriptor()));
  auto* content = spec->mutable_workload()->mutable_pressure()->mutable_content();
  content->set_kind(static_cast<v1::PageContent::Kind>(kind));
  if (colon == std::string::npos) return absl::OkStatus();
  if (kind != v1::PageContent::COMPRESSIBLE)
    return wrong(fmt::format("{}: only compressible has a ratio", base::Quoted(text)));
  std::string ratio = text.substr(colon + 1);
  // Below 1 it is the compressed share, as other programs ask for it: 0.5 shrinks to half, which is a ratio of 2.
  double number = 0;
  const auto [end, error] = std::from_chars(ratio.data(), ratio.data() + ratio.size(), number);
  if (error == std::errc() && end == ratio.data() + ratio.size()) {
    const double most = MostRatio();
    if (number < 1 / most || number > most) {
      return wrong(fmt::format("{} is neither a ratio from 1 to {:g} nor a share from 1/{:g} to 1", base::Quoted(ratio),
                               most, most));
    }
    if (number < 1) ratio = fmt::format("{}", 1 / number);
  }
  const absl::Status set = config::SetField(content, "compression_ratio", ratio);
  return set.ok() ? set : wrong(std::string(set.message()));
}

absl::Status SetTarget(const std::string& flag, const std::string& /*mode*/, const std::string& text,
                       v1::JobSpec* spec) {
  const bool size = std::isalpha(static_cast<unsigned char>(text.back())) != 0 && base::ParseBytes(text).ok();
  return SetFromFlag(flag, size ? "workload.pressure.burst.target_bytes" : "workload.pressure.burst.target_percent",
                     text, size ? "3GiB" : "70%, or a size with its unit: " + flag + " 3GiB", spec);
}

absl::Status SetStall(const std::string& flag, const std::string& /*mode*/, const std::string& text,
                      v1::JobSpec* spec) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) {
    return WithNextStep(
        absl::InvalidArgumentError(fmt::format("{}: {} does not say which stall; some (at least one task waits for "
                                               "memory) or full (all tasks do) comes first",
                                               flag, base::Quoted(text))),
        fmt::format("{0} some=20 or {0} full=5", flag));
  }
  BALLAST_ASSIGN_OR_RETURN(const int kind,
                           ParseEnumName(flag, text.substr(0, equals), *v1::PsiTarget::Kind_descriptor()));
  v1::PsiTarget target;
  target.set_kind(static_cast<v1::PsiTarget::Kind>(kind));
  if (const absl::Status status = config::SetField(&target, "percent", text.substr(equals + 1)); !status.ok()) {
    return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: {}", flag, std::string(status.message()))),
                        fmt::format("{} some=20", flag));
  }
  *spec->mutable_workload()->mutable_pressure()->mutable_burst()->mutable_target_psi() = target;
  return absl::OkStatus();
}

absl::Status SetUntil(const std::string& flag, const std::string& mode, const std::string& text, v1::JobSpec* spec) {
  BALLAST_ASSIGN_OR_RETURN(const int until, ParseEnumName(flag, text, *v1::AllocateFullPattern::Until_descriptor()));
  if (mode == kAllocateFull) {
    spec->mutable_workload()->mutable_pressure()->mutable_allocate_full()->set_until(
        static_cast<v1::AllocateFullPattern::Until>(until));
  } else if (until != v1::AllocateFullPattern::OOM) {
    return WithNextStep(
        absl::InvalidArgumentError(fmt::format("{} floor belongs to mode {}; in mode {} there is only {} oom, which "
                                               "turns the guard off",
                                               flag, kAllocateFull, mode, flag)),
        fmt::format("leave {} out: the guard protects the device then", flag));
  }
  if (until == v1::AllocateFullPattern::OOM) spec->mutable_guard()->set_mode(v1::GuardSpec::OFF);
  return absl::OkStatus();
}

absl::Status SetDuration(const std::string& flag, const std::string& mode, const std::string& text, v1::JobSpec* spec) {
  const std::string pattern = "workload.pressure." + mode;
  if (mode != "staircase") {
    const char* const field = mode == "burst" ? ".duration" : mode == "sawtooth" ? ".cycle_duration" : ".hold";
    return SetFromFlag(flag, pattern + field, text, "5s", spec);
  }
  const auto duration = base::ParseDuration(text);
  if (!duration.ok() || duration->count() <= 0) {
    return WithNextStep(
        absl::InvalidArgumentError(
            fmt::format("{}: {}", flag, duration.ok() ? "must be above 0" : std::string(duration.status().message()))),
        flag + " 60s");
  }
  v1::PressureWorkload complete = spec->workload().pressure();
  config::ApplyDefaults(&complete);
  const std::chrono::nanoseconds interval = base::FromProto(complete.staircase().interval());
  const std::int64_t steps = std::max<std::int64_t>(1, *duration / interval);
  return SetFromFlag(flag, pattern + ".steps", std::to_string(steps), "60s, or another --interval", spec);
}

}  // namespace ballast::cli
