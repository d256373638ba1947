// Runs whose figures cannot be compared: which they are, and what is said about leaving them out.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ballast/v1/report.pb.h"
#include "ballast/v1/run.pb.h"

namespace ballast::report {

// Whether the last attempt says that it is invalid. One that says nothing (its device never told, or its worker is
// older) is not.
[[nodiscard]] bool IsInvalid(const v1::Run& run);

// What disqualifies a run, one sentence each, with the threshold where there is one; empty where it is valid.
[[nodiscard]] std::vector<std::string> InvalidReasons(const v1::Run& run);

// Collects what a report or a comparison has to say about invalid runs. Not thread-safe.
class InvalidRuns {
 public:
  explicit InvalidRuns(bool include) : include_(include) {}

  // Looks at a run, and says whether the statistics leave it out.
  [[nodiscard]] bool LeavesOut(const v1::Run& run);

  // Warnings over the runs that were looked at: which are invalid and why, at most a hundred of them by name.
  [[nodiscard]] std::vector<std::string> Warnings() const;

 private:
  const bool include_;
  std::vector<std::string> named_;
  std::size_t count_ = 0;
};

// What to do about a group of which every ended run is left out; empty for any other group. `name` is how people call
// the group: `device d-…`.
[[nodiscard]] std::string WarningIfNothingCounts(const v1::GroupSummary& group, const std::string& name);

}  // namespace ballast::report
