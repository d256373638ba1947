#include "coordinator/report/group_summary.h"

#include <utility>

#include "coordinator/report/statistics.h"

namespace ballast::report {

void GroupAccumulator::Add(const v1::Run& run, std::span<const v1::Figure> figures, bool left_out) {
  ++run_count_;
  // What a run that goes on has reached so far would pull the statistics towards zero.
  if (run.state() != v1::Run::ENDED) return;
  if (left_out) {
    ++left_out_count_;
    return;
  }
  ++outcomes_[run.outcome().kind()];
  for (const v1::Figure& figure : figures) values_[figure.name()].push_back(figure.value());
}

v1::GroupSummary GroupAccumulator::Summarize() const {
  v1::GroupSummary summary;
  summary.set_run_count(run_count_);
  summary.set_invalid_run_count(left_out_count_);
  for (const auto& [kind, count] : outcomes_) {
    v1::OutcomeCount& outcome = *summary.add_outcomes();
    outcome.set_outcome(kind);
    outcome.set_count(count);
  }
  for (const auto& [name, values] : values_) {
    v1::FigureStatistics statistics = ComputeStatistics(values);
    statistics.set_name(name);
    *summary.add_figures() = std::move(statistics);
  }
  return summary;
}

}  // namespace ballast::report
