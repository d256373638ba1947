#include "worker/pressure/pattern_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/units.h"

namespace ballast::pressure {
namespace {

using std::chrono::nanoseconds;

// A hundred years: longer than any plan, and far from where nanoseconds overflow.
constexpr nanoseconds kForever = std::chrono::hours(24 * 36525);

nanoseconds Times(nanoseconds duration, std::uint64_t count) {
  if (duration.count() <= 0 || count == 0) return nanoseconds(0);
  if (count > static_cast<std::uint64_t>(kForever.count() / duration.count())) return kForever;
  return nanoseconds(duration.count() * static_cast<std::int64_t>(count));
}

std::uint64_t BytesOfPoint(const v1::TracePoint& point, std::uint64_t limit_bytes) {
  return point.has_used_bytes() ? point.used_bytes() : BytesOfPercent(limit_bytes, point.used_percent());
}

// Specifications hold at least a hundredth of a second; a division must not depend on that.
nanoseconds AtLeastOne(const google::protobuf::Duration& duration) {
  return std::max(base::FromProto(duration), nanoseconds(1));
}

}  // namespace

std::uint32_t StepsBegun(const v1::StaircasePattern& pattern, nanoseconds elapsed) {
  if (elapsed.count() < 0) return 0;
  const std::int64_t begun = elapsed / AtLeastOne(pattern.interval());
  if (begun >= static_cast<std::int64_t>(pattern.steps())) return pattern.steps();
  return static_cast<std::uint32_t>(begun) + 1;
}

nanoseconds StepBegin(const v1::StaircasePattern& pattern, std::uint32_t index) {
  return index == 0 ? nanoseconds(0) : Times(AtLeastOne(pattern.interval()), index - 1);
}

std::uint64_t StepTarget(const v1::StaircasePattern& pattern, std::uint32_t index) {
  const std::uint64_t size = pattern.step_size_bytes();
  if (size != 0 && index > std::numeric_limits<std::uint64_t>::max() / size) {
    return std::numeric_limits<std::uint64_t>::max();
  }
  return size * index;
}

double SawtoothPercent(const v1::SawtoothPattern& pattern, nanoseconds elapsed) {
  if (elapsed.count() <= 0 || elapsed >= CyclesDuration(pattern)) return pattern.min_percent();
  const nanoseconds cycle = AtLeastOne(pattern.cycle_duration());
  const double position = static_cast<double>((elapsed % cycle).count()) / static_cast<double>(cycle.count());
  const double height = position < 0.5 ? 2 * position : 2 * (1 - position);
  return pattern.min_percent() + height * (pattern.max_percent() - pattern.min_percent());
}

std::uint32_t CyclesCompleted(const v1::SawtoothPattern& pattern, nanoseconds elapsed) {
  if (elapsed.count() <= 0) return 0;
  const std::int64_t complete = elapsed / AtLeastOne(pattern.cycle_duration());
  return static_cast<std::uint32_t>(std::min<std::int64_t>(complete, pattern.cycles()));
}

nanoseconds CyclesDuration(const v1::SawtoothPattern& pattern) {
  return Times(AtLeastOne(pattern.cycle_duration()), pattern.cycles());
}

absl::Status CheckTrace(const v1::TracePattern& pattern) {
  if (pattern.points_size() < 2) {
    return absl::InvalidArgumentError(
        fmt::format("the trace has {} points, and a curve needs two at least", pattern.points_size()));
  }
  for (int i = 0; i < pattern.points_size(); ++i) {
    const v1::TracePoint& point = pattern.points(i);
    if (point.used_case() == v1::TracePoint::USED_NOT_SET) {
      return absl::InvalidArgumentError(
          fmt::format("point {} of the trace says no memory in use; give it used_percent or used_bytes", i + 1));
    }
    if (i > 0 && base::FromProto(point.offset()) <= base::FromProto(pattern.points(i - 1).offset())) {
      return absl::InvalidArgumentError(
          fmt::format("point {} of the trace is at {}, which is not after the point before it; sort the points by time",
                      i + 1, base::FormatDuration(base::FromProto(point.offset()))));
    }
  }
  return absl::OkStatus();
}

std::uint64_t TraceBytes(const v1::TracePattern& pattern, nanoseconds elapsed, std::uint64_t limit_bytes) {
  const auto& points = pattern.points();
  const nanoseconds time = base::FromProto(points.begin()->offset()) + std::max(elapsed, nanoseconds(0));
  const auto after = std::upper_bound(
      points.begin(), points.end(), time,
      [](nanoseconds at, const v1::TracePoint& point) { return at < base::FromProto(point.offset()); });
  if (after == points.end()) return BytesOfPoint(*points.rbegin(), limit_bytes);
  const auto before = after - 1;
  const nanoseconds begin = base::FromProto(before->offset());
  const nanoseconds span = base::FromProto(after->offset()) - begin;
  const double position = static_cast<double>((time - begin).count()) / static_cast<double>(span.count());
  const auto from = static_cast<double>(BytesOfPoint(*before, limit_bytes));
  const auto to = static_cast<double>(BytesOfPoint(*after, limit_bytes));
  return static_cast<std::uint64_t>(std::llround(from + position * (to - from)));
}

nanoseconds TraceDuration(const v1::TracePattern& pattern) {
  if (pattern.points_size() < 2) return nanoseconds(0);
  return base::FromProto(pattern.points().rbegin()->offset()) - base::FromProto(pattern.points().begin()->offset());
}

std::optional<nanoseconds> PlannedDuration(const v1::PressureWorkload& workload, nanoseconds ramp) {
  const nanoseconds around = base::FromProto(workload.baseline()) + base::FromProto(workload.recovery());
  switch (workload.pattern_case()) {
    case v1::PressureWorkload::kStaircase:
      return around + Times(AtLeastOne(workload.staircase().interval()), workload.staircase().steps());
    case v1::PressureWorkload::kBurst:
      return around + ramp + base::FromProto(workload.burst().duration());
    case v1::PressureWorkload::kSawtooth:
      return around + ramp + CyclesDuration(workload.sawtooth());
    case v1::PressureWorkload::kAllocateFull:
      if (workload.allocate_full().until() == v1::AllocateFullPattern::OOM) return std::nullopt;
      return around + ramp + base::FromProto(workload.allocate_full().hold());
    case v1::PressureWorkload::kTrace:
      return around + ramp + TraceDuration(workload.trace());
    case v1::PressureWorkload::PATTERN_NOT_SET:
      break;
  }
  return std::nullopt;
}

std::uint64_t BytesOfPercent(std::uint64_t limit_bytes, double percent) {
  const double share = std::clamp(std::isnan(percent) ? 0.0 : percent, 0.0, 100.0) / 100.0;
  if (share >= 1.0) return limit_bytes;
  return static_cast<std::uint64_t>(static_cast<double>(limit_bytes) * share);
}

}  // namespace ballast::pressure
