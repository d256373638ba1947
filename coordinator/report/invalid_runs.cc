#include "coordinator/report/invalid_runs.h"

#include "coordinator/report/figures.h"
#include "fmt/format.h"

namespace ballast::report {
namespace {

constexpr std::size_t kMostNamed = 100;

}  // namespace

bool IsInvalid(const v1::Run& run) {
  const v1::Attempt* attempt = LastAttempt(run);
  return run.state() == v1::Run::ENDED && attempt != nullptr && attempt->result().has_validity() &&
         !attempt->result().validity().valid();
}

std::vector<std::string> InvalidReasons(const v1::Run& run) {
  std::vector<std::string> reasons;
  if (!IsInvalid(run)) return reasons;
  for (const v1::ValidityRemark& remark : LastAttempt(run)->result().validity().remarks()) {
    if (!remark.disqualifies()) continue;
    reasons.push_back(remark.threshold() > 0
                          ? fmt::format("{} (more than {:.4g}{})", remark.message(), remark.threshold(),
                                        remark.kind() == v1::ValidityRemark::MISSED_SAMPLES ? "" : " %")
                          : remark.message());
  }
  return reasons;
}

bool InvalidRuns::LeavesOut(const v1::Run& run) {
  if (!IsInvalid(run)) return false;
  if (++count_ <= kMostNamed) {
    named_.push_back(fmt::format("run {} is invalid and {}: {}", run.run_id(),
                                 include_ ? "counts all the same" : "left out of the statistics",
                                 fmt::join(InvalidReasons(run), "; ")));
  }
  return !include_;
}

std::vector<std::string> InvalidRuns::Warnings() const {
  std::vector<std::string> warnings = named_;
  if (count_ > kMostNamed) warnings.push_back(fmt::format("{} more runs are invalid", count_ - kMostNamed));
  return warnings;
}

std::string WarningIfNothingCounts(const v1::GroupSummary& group, const std::string& name) {
  if (group.invalid_run_count() == 0 || !group.outcomes().empty()) return {};
  return fmt::format(
      "every run of {} that has ended is invalid, so there are no figures of it: ask for them all the same with "
      "--include-invalid, or run it again with --settle 2m while the device has nothing else to do",
      name);
}

}  // namespace ballast::report
