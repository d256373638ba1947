#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/base/status.h"
#include "common/jobs/variant.h"
#include "coordinator/report/figures.h"
#include "coordinator/report/group_summary.h"
#include "coordinator/report/invalid_runs.h"
#include "coordinator/report/report.h"
#include "coordinator/report/run_selection.h"
#include "fmt/format.h"

namespace ballast::report {
namespace {

// Title of the group of runs on devices as they are.
constexpr std::string_view kNoProfile = "no profile";

// One group to be: who is in it, and what was summed up so far.
struct Group {
  std::string id;
  std::string title;
  GroupAccumulator runs;
};

// The identifiers as they were named, each of them once.
std::vector<std::string> DistinctItems(const v1::CompareRunsRequest& request) {
  std::vector<std::string> items;
  std::set<std::string> seen;
  for (const std::string& id : request.item_ids()) {
    if (seen.insert(id).second) items.push_back(id);
  }
  return items;
}

absl::StatusOr<RunSelection> SelectItems(storage::Store& store, const std::vector<std::string>& items) {
  std::vector<std::string> job_ids;
  std::vector<std::string> run_ids;
  for (const std::string& id : items) (IsRunId(id) ? run_ids : job_ids).push_back(id);
  return SelectRuns(store, job_ids, run_ids);
}

// The groups a comparison is made of, in order, and to which of them a run belongs.
class Grouping {
 public:
  static Grouping ByItem(const std::vector<std::string>& items, const RunSelection& selection) {
    Grouping grouping;
    for (const std::string& id : items) {
      const std::string_view job_id = std::string_view(id).substr(0, id.rfind('.'));
      const auto job = std::ranges::find(selection.jobs, job_id, &v1::Job::job_id);
      grouping.Add(id, job == selection.jobs.end() ? std::string() : job->spec().display_name());
    }
    return grouping;
  }

  static Grouping ByDevice(const std::vector<v1::Device>& devices) {
    Grouping grouping;
    grouping.dimension_ = v1::CompareRunsRequest::DEVICE;
    for (const v1::Device& device : devices) grouping.Add(device.device_id(), device.facts().hostname());
    return grouping;
  }

  // Named by the profile; the device as it is comes first.
  static Grouping ByProfile(const RunSelection& selection) {
    Grouping grouping;
    grouping.dimension_ = v1::CompareRunsRequest::PROFILE;
    std::set<std::string> names;
    for (const v1::Run& run : selection.runs) names.insert(jobs::SpecOf(selection.JobOf(run).spec(), run).environment());
    for (const std::string& name : names) {
      grouping.Add(name, name.empty() ? std::string(kNoProfile) : std::string());
    }
    return grouping;
  }

  void AddRun(const v1::Run& run, const v1::JobSpec& spec, const std::vector<v1::Figure>& figures, bool left_out) {
    switch (dimension_) {
      case v1::CompareRunsRequest::DEVICE:
        AddTo(run.device_id(), run, figures, left_out);
        break;
      case v1::CompareRunsRequest::PROFILE:
        AddTo(spec.environment(), run, figures, left_out);
        break;
      default:
        // Both may have been named: the job and one of its runs.
        AddTo(run.job_id(), run, figures, left_out);
        AddTo(run.run_id(), run, figures, left_out);
    }
  }

  [[nodiscard]] const std::vector<Group>& groups() const { return groups_; }

 private:
  void Add(const std::string& id, const std::string& title) {
    positions_[id] = groups_.size();
    groups_.push_back({.id = id, .title = title, .runs = {}});
  }

  void AddTo(const std::string& id, const v1::Run& run, const std::vector<v1::Figure>& figures, bool left_out) {
    const auto position = positions_.find(id);
    if (position != positions_.end()) groups_[position->second].runs.Add(run, figures, left_out);
  }

  v1::CompareRunsRequest::Dimension dimension_ = v1::CompareRunsRequest::ITEM;
  std::vector<Group> groups_;
  std::map<std::string, std::size_t> positions_;
};

// One row for each figure that some group has.
void AddRows(v1::Comparison* comparison) {
  std::vector<int> next(static_cast<std::size_t>(comparison->groups_size()),
                        0);  // figures are in the order of the table
  for (const FigureDefinition& definition : AllFigures()) {
    v1::ComparisonRow row;
    bool any = false;
    for (int i = 0; i < comparison->groups_size(); ++i) {
      const v1::GroupSummary& group = comparison->groups(i);
      int& position = next[static_cast<std::size_t>(i)];
      v1::ComparisonCell& cell = *row.add_cells();
      if (position == group.figures_size() || group.figures(position).name() != definition.name) continue;
      const v1::FigureStatistics& statistics = group.figures(position++);
      any = true;
      cell.set_n(statistics.n());
      cell.set_median(statistics.median());
      const v1::ComparisonCell& base = row.cells(0);
      if (i > 0 && base.n() > 0 && base.median() != 0) {
        cell.set_change_percent(100.0 * (cell.median() - base.median()) / std::abs(base.median()));
      }
    }
    if (!any) continue;
    row.set_figure(std::string(definition.name));
    row.set_direction(definition.direction);
    *comparison->add_rows() = std::move(row);
  }
}

absl::Status TooFewGroups(v1::CompareRunsRequest::Dimension dimension, std::size_t count) {
  switch (dimension) {
    case v1::CompareRunsRequest::DEVICE:
      return absl::InvalidArgumentError(
          fmt::format("a comparison by device needs runs on at least two devices, these are on {}: name more "
                      "jobs or runs, or compare them as items",
                      count));
    case v1::CompareRunsRequest::PROFILE:
      return absl::InvalidArgumentError(
          fmt::format("a comparison by profile needs runs in at least two environments, these are in {}: name more "
                      "jobs or runs, or compare them as items",
                      count));
    default:
      return absl::InvalidArgumentError(
          "a comparison needs at least two different jobs or runs: name another, or compare by device or profile");
  }
}

}  // namespace

absl::StatusOr<v1::Comparison> BuildComparison(storage::Store& store, const v1::CompareRunsRequest& request,
                                               const base::Clock& clock) {
  const bool by_device = request.dimension() == v1::CompareRunsRequest::DEVICE;
  const bool by_profile = request.dimension() == v1::CompareRunsRequest::PROFILE;
  if (!by_device && !by_profile && request.dimension() != v1::CompareRunsRequest::ITEM &&
      request.dimension() != v1::CompareRunsRequest::DIMENSION_UNSPECIFIED) {
    return absl::InvalidArgumentError(fmt::format(
        "dimension {} is not one this coordinator knows: use ITEM, DEVICE or PROFILE", request.dimension()));
  }
  const std::vector<std::string> items = DistinctItems(request);
  if (items.empty())
    return absl::InvalidArgumentError("a comparison needs jobs or runs: name them by their identifiers");
  BALLAST_ASSIGN_OR_RETURN(const RunSelection selection, SelectItems(store, items));

  Grouping grouping;
  if (by_device) {
    BALLAST_ASSIGN_OR_RETURN(const std::vector<v1::Device> devices, DevicesOf(store, selection.runs));
    grouping = Grouping::ByDevice(devices);
  } else if (by_profile) {
    grouping = Grouping::ByProfile(selection);
  } else {
    grouping = Grouping::ByItem(items, selection);
  }
  if (grouping.groups().size() < 2) return TooFewGroups(request.dimension(), grouping.groups().size());

  InvalidRuns invalid(request.include_invalid());
  for (const v1::Run& run : selection.runs) {
    std::vector<v1::MetricSummary> summaries;
    const v1::Attempt* attempt = LastAttempt(run);
    if (attempt != nullptr && run.state() == v1::Run::ENDED) {
      BALLAST_ASSIGN_OR_RETURN(summaries, store.GetRollups(run.run_id(), attempt->attempt()));
    }
    const v1::JobSpec spec = jobs::SpecOf(selection.JobOf(run).spec(), run);
    grouping.AddRun(run, spec, ComputeFigures(run, spec.workload(), summaries), invalid.LeavesOut(run));
  }

  v1::Comparison comparison;
  comparison.set_schema_version(kSchemaVersion);
  *comparison.mutable_create_time() = base::ToProto(clock.Now());
  comparison.set_dimension(by_device ? "device" : by_profile ? "profile" : "item");
  for (const Group& group : grouping.groups()) {
    v1::GroupSummary& summary = *comparison.add_groups();
    summary = group.runs.Summarize();
    summary.set_group(group.id);
    summary.set_title(group.title);
    if (std::string warning = WarningIfNothingCounts(summary, group.id.empty() ? group.title : group.id);
        !warning.empty()) {
      comparison.add_warnings(std::move(warning));
    }
  }
  for (std::string& warning : invalid.Warnings()) comparison.add_warnings(std::move(warning));
  AddRows(&comparison);
  return comparison;
}

}  // namespace ballast::report
