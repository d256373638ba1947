#include "coordinator/report/survival.h"

#include <utility>

#include "coordinator/report/statistics.h"

namespace ballast::report {

void SurvivalAccumulator::Add(v1::OutcomeKind outcome, std::span<const v1::Figure> figures) {
  ++outcomes_[outcome];
  if (!Counts(outcome)) return;
  ++count_;
  Values& values = outcome == v1::COMPLETED ? survived_ : unsurvived_;
  for (const v1::Figure& figure : figures) values[figure.name()].push_back(figure.value());
}

void SurvivalAccumulator::AddStatistics(const Values& values,
                                        google::protobuf::RepeatedPtrField<v1::FigureStatistics>* figures) {
  for (const auto& [name, list] : values) {
    v1::FigureStatistics statistics = ComputeStatistics(list);
    statistics.set_name(name);
    *figures->Add() = std::move(statistics);
  }
}

bool Counts(v1::OutcomeKind outcome) {
  return outcome != v1::OUTCOME_KIND_UNSPECIFIED && outcome != v1::CANCELLED;
}

}  // namespace ballast::report
