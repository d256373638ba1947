// Loads, or executions, of one kind: how many survived, and the figures of those that did apart from the others.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ballast/v1/report.pb.h"
#include "ballast/v1/run.pb.h"

namespace ballast::report {

// Takes in ends and figures one by one and sums them up. Not thread-safe.
class SurvivalAccumulator {
 public:
  void Add(v1::OutcomeKind outcome, std::span<const v1::Figure> figures);

  // How many count.
  [[nodiscard]] std::uint32_t count() const { return count_; }

  // Fills outcomes, survived_count, figures and unsurvived_figures of a LevelSummary or a CommandSummary in.
  template <typename Summary>
  void Fill(Summary* summary) const {
    for (const auto& [kind, number] : outcomes_) {
      v1::OutcomeCount& outcome = *summary->add_outcomes();
      outcome.set_outcome(kind);
      outcome.set_count(number);
      if (kind == v1::COMPLETED) summary->set_survived_count(number);
    }
    AddStatistics(survived_, summary->mutable_figures());
    AddStatistics(unsurvived_, summary->mutable_unsurvived_figures());
  }

 private:
  using Values = std::map<std::string, std::vector<double>, std::less<>>;

  static void AddStatistics(const Values& values, google::protobuf::RepeatedPtrField<v1::FigureStatistics>* figures);

  std::uint32_t count_ = 0;
  std::map<v1::OutcomeKind, std::uint32_t> outcomes_;
  Values survived_;
  Values unsurvived_;
};

// Whether an end says something about what was tried: it has one, and it is not a user's cancellation.
[[nodiscard]] bool Counts(v1::OutcomeKind outcome);

}  // namespace ballast::report
