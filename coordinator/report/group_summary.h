// Figures over a group of runs.
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

// Takes in the runs of one group one by one and sums them up. Not thread-safe.
class GroupAccumulator {
 public:
  // `figures` are the run's. An unended run is counted and nothing else; so is one that is `left_out`.
  void Add(const v1::Run& run, std::span<const v1::Figure> figures, bool left_out = false);

  // The summary of what was added so far; `group` and `title` are left empty.
  [[nodiscard]] v1::GroupSummary Summarize() const;

 private:
  std::uint32_t run_count_ = 0;
  std::uint32_t left_out_count_ = 0;
  std::map<v1::OutcomeKind, std::uint32_t> outcomes_;
  std::map<std::string, std::vector<double>, std::less<>> values_;
};

}  // namespace ballast::report
