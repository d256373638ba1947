// Executions of programs under test in runs: their key figures, and each command summed up over runs.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ballast/v1/job.pb.h"
#include "ballast/v1/report.pb.h"
#include "ballast/v1/run.pb.h"
#include "coordinator/report/survival.h"

namespace ballast::report {

// One key figure of an execution. docs/reports.md explains each one.
struct CommandFigureDefinition {
  std::string_view name;  // with its unit as suffix
  std::optional<double> (*compute)(const v1::CommandResult&);
};

// Every key figure of an execution there is, ordered by name.
[[nodiscard]] std::span<const CommandFigureDefinition> AllCommandFigures();

// The key figures of an execution, ordered by name; those that do not apply or are not known, and values that are not
// finite, are left out. Of a program that did not start there are none.
[[nodiscard]] std::vector<v1::Figure> ComputeCommandFigures(const v1::CommandResult& command);

// Takes in runs and sums the executions of each command up. Not thread-safe.
class CommandExecutions {
 public:
  // `job` is the run's. A run that has not ended is passed over.
  void Add(const v1::Run& run, const v1::Job& job);

  // For each command and the conditions it ran under, in order of appearance: over all devices, then on each of them by
  // identifier.
  [[nodiscard]] std::vector<v1::CommandSummary> Summarize() const;

 private:
  struct Group {
    v1::CommandSummary conditions;  // what all of them have in common
    SurvivalAccumulator all;
    std::map<std::string, SurvivalAccumulator> by_device;
  };

  std::vector<Group> groups_;
};

}  // namespace ballast::report
