#include "worker/agent/run_findings.h"

#include <algorithm>
#include <cmath>

#include "common/base/clock.h"

namespace ballast::agent {
namespace {

constexpr int kMaxKept = 20'000;
constexpr std::chrono::seconds kReportDelay(1);  // by then a report of a new phase has surely come
constexpr double kHalfPoint = 0.5;
constexpr double kOnePoint = 1.0;
constexpr double kFivePoints = 5.0;
// The kernel's average covers this long: until then it still has the ramp in it.
constexpr std::chrono::seconds kStallAverage(10);

// Memory in use that a phase wants, in percent; nothing where it wants none.
std::optional<double> UsedTarget(const v1::Phase& phase, double limit_bytes) {
  if (phase.target_percent() > 0) return phase.target_percent();
  if (phase.target_bytes() == 0 || !(limit_bytes > 0)) return std::nullopt;
  return 100.0 * static_cast<double>(phase.target_bytes()) / limit_bytes;
}

// The mean of `count` values from the mean of those before and the last; off by no more than a byte a thousand values.
std::uint64_t MeanWith(std::uint64_t mean_before, std::uint64_t value, std::uint32_t count) {
  const double step = (static_cast<double>(value) - static_cast<double>(mean_before)) / count;
  return static_cast<std::uint64_t>(std::llround(static_cast<double>(mean_before) + step));
}

}  // namespace

void RunFindings::AddReport(const v1::RunnerReport& report) {
  switch (report.content_case()) {
    case v1::RunnerReport::kPhase:
      AddPhase(report.phase());
      break;
    case v1::RunnerReport::kStep:
      if (result_.steps_size() < kMaxKept) *result_.add_steps() = report.step();
      held_bytes_ = report.step().held_bytes();
      result_.set_peak_held_bytes(std::max(result_.peak_held_bytes(), held_bytes_));
      result_.set_peak_resident_bytes(std::max(result_.peak_resident_bytes(), report.step().resident_bytes()));
      break;
    case v1::RunnerReport::kState:
      AddState(report.state());
      break;
    case v1::RunnerReport::kEvent:
      // In case the runner does not live to sum it up.
      if (report.event().kind() == v1::Event::TARGET_REACHED && first_ramp_ && !result_.has_time_to_target()) {
        const std::chrono::nanoseconds taken = base::FromProto(report.event().offset()) - *first_ramp_;
        *result_.mutable_time_to_target() = base::ToProto(std::max(taken, std::chrono::nanoseconds(0)));
      }
      if (report.event().kind() == v1::Event::LAGGED) {
        const auto lag_bytes = static_cast<std::uint64_t>(std::max(report.event().value(), 0.0));
        result_.set_max_lag_bytes(std::max(result_.max_lag_bytes(), lag_bytes));
      }
      break;
    case v1::RunnerReport::kFinished: {
      finished_ = report.finished();
      EndPhase(pressure_phase_, finished_->offset());
      result_.set_peak_held_bytes(std::max(result_.peak_held_bytes(), finished_->peak_held_bytes()));
      result_.set_max_lag_bytes(finished_->max_lag_bytes());
      if (finished_->has_time_to_target()) *result_.mutable_time_to_target() = finished_->time_to_target();
      const double fill_seconds = base::ToSeconds(base::FromProto(finished_->fill_time()));
      if (fill_seconds > 0) {
        result_.set_fill_bytes_per_second(static_cast<double>(finished_->filled_bytes()) / fill_seconds);
      }
      break;
    }
    case v1::RunnerReport::kLoadStage:  // of the runner beside the pressure: not for here
    case v1::RunnerReport::kLoadBegin:
    case v1::RunnerReport::kProgramBegin:
    case v1::RunnerReport::CONTENT_NOT_SET:
      break;
  }
}

void RunFindings::EndPhase(int place, const google::protobuf::Duration& offset) {
  if (place < 0 || result_.phases(place).has_end_offset()) return;
  *result_.mutable_phases(place)->mutable_end_offset() = offset;
}

void RunFindings::AddPhase(const v1::Phase& phase) {
  const bool of_load = phase.load_index() > 0;
  int& place = of_load ? load_phase_ : pressure_phase_;
  EndPhase(place, phase.start_offset());
  place = -1;
  current_phase_ = phase.kind();
  if (of_load) {
    if (!first_load_) first_load_ = base::FromProto(phase.start_offset());
  } else {
    if (phase.kind() == v1::Phase::RAMP && !first_ramp_) first_ramp_ = base::FromProto(phase.start_offset());
    target_percent_ = phase.target_percent();
    target_psi_.reset();
    if (phase.has_target_psi()) target_psi_ = phase.target_psi();
    pressure_phase_kind_ = phase.kind();
  }
  if (result_.phases_size() >= kMaxKept) return;
  place = result_.phases_size();
  v1::Phase* const kept = result_.add_phases();
  *kept = phase;
  kept->clear_hold_quality();
  kept->set_cycle(cycle_);
}

void RunFindings::EndLoadPhase(std::chrono::nanoseconds offset) {
  EndPhase(load_phase_, base::ToProto(offset));
  load_phase_ = -1;
  current_phase_ = pressure_phase_kind_;
}

void RunFindings::AddState(const v1::RunnerState& state) {
  held_bytes_ = state.held_bytes();
  target_percent_ = state.target_percent();
  if (state.has_planned()) planned_ = base::FromProto(state.planned());
  result_.set_peak_held_bytes(std::max(result_.peak_held_bytes(), held_bytes_));
}

void RunFindings::AddSample(std::chrono::nanoseconds offset, const metrics::SampleRow& row,
                            std::optional<double> stall_percent) {
  ++sample_count_;
  if (held_bytes_ > sampled_peak_bytes_) {
    sampled_peak_bytes_ = held_bytes_;
    peak_offset_ = offset;
  }
  const std::int64_t resident = row[metrics::IndexOf(metrics::MetricId::kRunnerResidentBytes)];
  if (resident != metrics::kAbsent) {
    result_.set_peak_resident_bytes(std::max(result_.peak_resident_bytes(), static_cast<std::uint64_t>(resident)));
  }
  const std::int64_t used = row[metrics::IndexOf(metrics::MetricId::kMemUsedPercent)];
  if (used != metrics::kAbsent) {
    const metrics::Metric* const metric =
        metrics::FindMetric(static_cast<std::uint32_t>(metrics::MetricId::kMemUsedPercent));
    const std::int64_t limit = row[metrics::IndexOf(metrics::MetricId::kMemLimitBytes)];
    unjudged_.push_back({.offset = offset,
                         .used_percent = static_cast<double>(used) / static_cast<double>(metric->scale),
                         .limit_bytes = limit == metrics::kAbsent ? 0.0 : static_cast<double>(limit),
                         .held_bytes = held_bytes_,
                         .stall_percent = stall_percent});
  }
  while (!unjudged_.empty() && unjudged_.front().offset + kReportDelay < offset) {
    Judge(unjudged_.front(), &result_);
    unjudged_.pop_front();
  }
}

void RunFindings::Judge(const HoldSample& sample, v1::RunResult* result) const {
  if (first_load_ && sample.offset >= *first_load_) return;
  for (int i = result->phases_size() - 1; i >= 0; --i) {
    v1::Phase* const phase = result->mutable_phases(i);
    if (phase->load_index() > 0 || sample.offset < base::FromProto(phase->start_offset())) continue;
    if (phase->has_end_offset() && sample.offset >= base::FromProto(phase->end_offset())) return;
    if (phase->kind() != v1::Phase::HOLD) return;
    const std::optional<double> target = UsedTarget(*phase, sample.limit_bytes);
    if (!target && !phase->has_target_psi()) return;
    const bool first = !phase->has_hold_quality();
    v1::HoldQuality* const quality = phase->mutable_hold_quality();
    quality->set_sample_count(quality->sample_count() + 1);
    const double used = sample.used_percent;
    quality->set_min_percent(first ? used : std::min(quality->min_percent(), used));
    quality->set_max_percent(first ? used : std::max(quality->max_percent(), used));
    const std::uint64_t held = sample.held_bytes;
    quality->set_min_held_bytes(first ? held : std::min(quality->min_held_bytes(), held));
    quality->set_max_held_bytes(first ? held : std::max(quality->max_held_bytes(), held));
    quality->set_mean_held_bytes(MeanWith(quality->mean_held_bytes(), held, quality->sample_count()));
    if (target) {
      const double distance = std::abs(used - *target);
      if (distance <= kHalfPoint) quality->set_within_half_point_count(quality->within_half_point_count() + 1);
      if (distance <= kOnePoint) quality->set_within_one_point_count(quality->within_one_point_count() + 1);
    } else {
      JudgeStall(sample, phase);
    }
    return;
  }
}

void RunFindings::JudgeStall(const HoldSample& sample, v1::Phase* phase) {
  if (!sample.stall_percent || sample.offset < base::FromProto(phase->start_offset()) + kStallAverage) return;
  const bool first = !phase->hold_quality().has_stall();
  v1::StallQuality* const stall = phase->mutable_hold_quality()->mutable_stall();
  const double percent = *sample.stall_percent;
  stall->set_sample_count(stall->sample_count() + 1);
  if (std::abs(percent - phase->target_psi().percent()) <= kFivePoints) {
    stall->set_within_five_points_count(stall->within_five_points_count() + 1);
  }
  stall->set_min_percent(first ? percent : std::min(stall->min_percent(), percent));
  stall->set_max_percent(first ? percent : std::max(stall->max_percent(), percent));
  stall->set_mean_percent(stall->mean_percent() + (percent - stall->mean_percent()) / stall->sample_count());
}

void RunFindings::Fill(v1::RunResult* result) const {
  result->MergeFrom(result_);
  for (const HoldSample& sample : unjudged_) Judge(sample, result);
  result->set_sample_count(sample_count_);
  if (!finished_) result->set_fill_bytes_per_second(EstimateFillRate());
}

double RunFindings::EstimateFillRate() const {
  double bytes = 0;
  double seconds = 0;
  for (const v1::Step& step : result_.steps()) {
    bytes += static_cast<double>(std::max<std::int64_t>(step.resident_delta_bytes(), 0));
    seconds += base::ToSeconds(base::FromProto(step.fill_duration()));
  }
  if (result_.steps_size() == 0 && first_ramp_) {
    bytes = static_cast<double>(result_.peak_held_bytes());
    seconds = base::ToSeconds(peak_offset_ - *first_ramp_);
  }
  return seconds > 0 ? bytes / seconds : 0;
}

}  // namespace ballast::agent
