#include "coordinator/report/soak.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/units.h"
#include "coordinator/report/survival.h"
#include "coordinator/report/trend.h"

namespace ballast::report {
namespace {

using std::chrono::nanoseconds;
// Longer than any soak, and small enough that two of it add up: times come from devices.
constexpr nanoseconds kLongest = std::chrono::years(100);
using Cycle = v1::StabilityCycle;

// A figure of a cycle whose trend is told. Ordered by name.
struct TrendDefinition {
  std::string_view name;
  std::optional<double> (*value)(const Cycle&);
};

// Zero is what is not known: no process and no device takes no memory.
std::optional<double> Known(std::uint64_t bytes) {
  return bytes == 0 ? std::nullopt : std::optional(static_cast<double>(bytes));
}

constexpr std::array kTrends = {
    TrendDefinition{"agent_resident_bytes", [](const Cycle& cycle) { return Known(cycle.agent_resident_bytes()); }},
    TrendDefinition{"load_seconds",
                    [](const Cycle& cycle) -> std::optional<double> {
                      if (!cycle.has_load_time()) return std::nullopt;
                      return base::ToSeconds(base::FromProto(cycle.load_time()));
                    }},
    TrendDefinition{"runner_resident_bytes", [](const Cycle& cycle) { return Known(cycle.runner_resident_bytes()); }},
    TrendDefinition{"system_used_bytes", [](const Cycle& cycle) { return Known(cycle.system_used_bytes()); }},
};

nanoseconds Offset(const google::protobuf::Duration& offset) {
  return std::clamp(base::FromProto(offset), nanoseconds(0), kLongest);
}

// Collects the cycles of one attempt after the other.
class SoakBuilder {
 public:
  void Add(const v1::Attempt& attempt, std::span<const Cycle> cycles) {
    const nanoseconds start = StartOf(attempt);
    if (previous_ != nullptr) AddGap(attempt, start);
    for (const Cycle& cycle : cycles) {
      Cycle& added = *report_.add_cycles();
      added = cycle;
      *added.mutable_start_offset() = base::ToProto(start + Offset(cycle.start_offset()));
      *added.mutable_end_offset() = base::ToProto(start + Offset(cycle.end_offset()));
      attempt_of_cycle_.push_back(attempt.attempt());
      end_ = std::max(end_, start + Offset(cycle.end_offset()));
    }
    end_ = std::max(end_, start);
    previous_ = &attempt;
  }

  v1::SoakReport Finish() {
    std::map<v1::OutcomeKind, std::uint32_t> outcomes;
    for (const Cycle& cycle : report_.cycles()) {
      ++outcomes[cycle.outcome()];
      if (Counts(cycle.outcome())) report_.set_cycle_count(report_.cycle_count() + 1);
    }
    report_.set_survived_count(outcomes.contains(v1::COMPLETED) ? outcomes.at(v1::COMPLETED) : 0);
    for (const auto& [kind, count] : outcomes) {
      v1::OutcomeCount& outcome = *report_.add_outcomes();
      outcome.set_outcome(kind);
      outcome.set_count(count);
    }
    AddTrends();
    return std::move(report_);
  }

 private:
  // When an attempt began, from the start of the first one.
  nanoseconds StartOf(const v1::Attempt& attempt) {
    if (!attempt.has_start_time()) return end_;
    const nanoseconds start = std::max(base::FromProto(attempt.start_time()).time_since_epoch(), nanoseconds(0));
    if (!first_start_.has_value()) first_start_ = start;
    return std::clamp(start - *first_start_, std::min(end_, kLongest), kLongest);
  }

  void AddGap(const v1::Attempt& next, nanoseconds start) {
    v1::SoakGap& gap = *report_.add_gaps();
    gap.set_attempt(previous_->attempt());
    if (!report_.cycles().empty()) gap.set_last_cycle(report_.cycles().rbegin()->index());
    *gap.mutable_start_offset() = base::ToProto(end_);
    *gap.mutable_end_offset() = base::ToProto(start);
    const v1::Outcome& outcome = previous_->result().outcome();
    gap.set_outcome(outcome.kind());
    const std::string last =
        gap.last_cycle() == 0 ? "before its first cycle was over" : fmt::format("after cycle {}", gap.last_cycle());
    gap.set_message(fmt::format("attempt {} ended {} {}{}{}; attempt {} went on {} later", previous_->attempt(),
                                v1::OutcomeKind_Name(outcome.kind()), last, outcome.message().empty() ? "" : ": ",
                                outcome.message(), next.attempt(), base::FormatDuration(start - end_)));
  }

  void AddTrends() {
    for (const TrendDefinition& definition : kTrends) {
      std::vector<TrendPoint> points;
      std::uint32_t attempt = 0;  // they count from 1
      for (int i = 0; i < report_.cycles_size(); ++i) {
        // Processes that have just started, and caches, warm up in the first cycle of an attempt.
        const std::uint32_t before = std::exchange(attempt, attempt_of_cycle_[static_cast<std::size_t>(i)]);
        const std::optional<double> value = definition.value(report_.cycles(i));
        if (attempt != before || !value.has_value()) continue;
        points.push_back({.series = attempt,
                          .hours = base::ToSeconds(base::FromProto(report_.cycles(i).end_offset())) / 3600,
                          .value = *value});
      }
      std::optional<v1::Trend> trend = FitTrend(points);
      if (!trend.has_value()) continue;
      trend->set_name(std::string(definition.name));
      *report_.add_trends() = *std::move(trend);
    }
  }

  v1::SoakReport report_;
  std::vector<std::uint32_t> attempt_of_cycle_;
  std::optional<nanoseconds> first_start_;  // since 1970
  nanoseconds end_{0};                      // of the last cycle, or start of the last attempt
  const v1::Attempt* previous_ = nullptr;
};

}  // namespace

v1::SoakReport BuildSoakReport(const v1::Run& run, std::span<const Cycle> open_cycles) {
  SoakBuilder builder;
  for (const v1::Attempt& attempt : run.attempts()) {
    if (attempt.has_result()) {
      const std::vector<Cycle> cycles(attempt.result().cycles().begin(), attempt.result().cycles().end());
      builder.Add(attempt, cycles);
    } else {
      builder.Add(attempt, open_cycles);
    }
  }
  return builder.Finish();
}

}  // namespace ballast::report
