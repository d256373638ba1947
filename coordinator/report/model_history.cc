#include "coordinator/report/model_history.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/field_rules.h"
#include "common/config/field_text.h"
#include "common/jobs/variant.h"
#include "coordinator/report/advice.h"
#include "coordinator/report/invalid_runs.h"
#include "coordinator/report/loads.h"
#include "coordinator/report/model_comparison.h"

namespace ballast::report {
namespace {

constexpr int kPageSize = 1000;
// Kinds of workload that load models.
constexpr const char* kKinds[] = {"model", "quantization", "stability"};

// The devices of a selector, ordered by identifier; all of them where it says nothing.
absl::StatusOr<std::vector<v1::Device>> SelectDevices(storage::Store& store, const v1::DeviceSelector& selector) {
  if (!selector.expression().empty() || selector.count() > 0) {
    return absl::InvalidArgumentError(
        "devices: advice looks at labels and identifiers, not at an expression or a number of devices");
  }
  std::vector<v1::Device> devices;
  v1::ListDevicesRequest request;
  request.set_page_size(kPageSize);
  *request.mutable_labels() = selector.labels();
  do {
    BALLAST_ASSIGN_OR_RETURN(v1::ListDevicesResponse page, store.ListDevices(request));
    for (v1::Device& device : *page.mutable_devices()) devices.push_back(std::move(device));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (selector.device_ids().empty()) return devices;

  std::vector<std::string> known;
  for (const v1::Device& device : devices) known.push_back(device.device_id());
  const std::set<std::string> wanted(selector.device_ids().begin(), selector.device_ids().end());
  for (const std::string& id : wanted) {
    if (std::ranges::find(known, id) != known.end()) continue;
    const std::string near = config::DidYouMean(id, known);
    return absl::NotFoundError(fmt::format("no device {}{}{}", id, selector.labels().empty() ? "" : " has these labels",
                                           near.empty() ? "" : "; " + near));
  }
  std::erase_if(devices, [&wanted](const v1::Device& device) { return !wanted.contains(device.device_id()); });
  return devices;
}

// Calls `visit` with each ended run that loaded models on one of the devices, latest first of each kind of workload.
template <typename Visit>
absl::Status VisitRuns(storage::Store& store, const v1::AdviseModelRequest& request,
                       const std::vector<v1::Device>& devices, const Visit& visit) {
  std::set<std::string> ids;
  for (const v1::Device& device : devices) ids.insert(device.device_id());
  for (const char* kind : kKinds) {
    v1::ListRunsRequest list;
    list.set_page_size(kPageSize);
    list.mutable_filter()->set_workload_kind(kind);
    list.mutable_filter()->add_states(v1::Run::ENDED);
    *list.mutable_filter()->mutable_job_ids() = request.job_ids();
    do {
      BALLAST_ASSIGN_OR_RETURN(const v1::ListRunsResponse page, store.ListRuns(list));
      for (const v1::Run& run : page.runs()) {
        if (ids.contains(run.device_id())) BALLAST_RETURN_IF_ERROR(visit(run));
      }
      list.set_page_token(page.next_page_token());
    } while (!list.page_token().empty());
  }
  return absl::OkStatus();
}

// Jobs by identifier, each read once.
class Jobs {
 public:
  explicit Jobs(storage::Store& store) : store_(store) {}

  absl::StatusOr<const v1::Job*> Get(const std::string& job_id) {
    const auto known = jobs_.find(job_id);
    if (known != jobs_.end()) return &known->second;
    BALLAST_ASSIGN_OR_RETURN(v1::Job job, store_.GetJob(job_id));
    return &jobs_.emplace(job_id, std::move(job)).first->second;
  }

 private:
  storage::Store& store_;
  std::map<std::string, v1::Job> jobs_;
};

bool Matches(const v1::LoadConditions& conditions, const v1::AdviseModelRequest& request) {
  return (request.loader() == v1::ModelLoad::LOADER_UNSPECIFIED || request.loader() == conditions.loader()) &&
         (request.runtime() == v1::ModelLoad::RUNTIME_UNSPECIFIED || request.runtime() == conditions.runtime());
}

std::uint32_t LoadCount(const ComparedModel& model) {
  std::uint32_t count = 0;
  for (const v1::LevelSummary& level : model.comparison.levels()) count += level.load_count();
  return count;
}

// Conditions of the latest load that matches, seen run by run.
class LatestConditions {
 public:
  explicit LatestConditions(const v1::AdviseModelRequest& request) : request_(request) {}

  void Look(const v1::Run& run, const v1::Job& job) {
    for (const LoadOfRun& entry : LoadsOf(run)) {
      if (entry.load->model_id() != request_.model_id() || !entry.load->has_outcome()) continue;
      v1::LoadConditions conditions = ConditionsOf(*entry.load, jobs::SpecOf(job.spec(), run));
      const base::SystemTime time = base::FromProto(run.end_time());
      if (!Matches(conditions, request_) || (conditions_.has_value() && time < time_)) continue;
      time_ = time;
      conditions_ = std::move(conditions);
    }
  }
  [[nodiscard]] const std::optional<v1::LoadConditions>& conditions() const { return conditions_; }

 private:
  const v1::AdviseModelRequest& request_;
  base::SystemTime time_;
  std::optional<v1::LoadConditions> conditions_;
};

}  // namespace

absl::StatusOr<v1::ModelAdvice> BuildAdvice(storage::Store& store, const v1::AdviseModelRequest& request,
                                            const absl::StatusOr<std::vector<v1::ModelEntry>>& entries) {
  if (request.model_id().empty())
    return absl::InvalidArgumentError("model_id is missing: name a model of the catalogue");
  if (!entries.ok() && !absl::IsNotFound(entries.status())) return entries.status();
  v1::ModelLimits limits = request.limits();
  config::ApplyDefaults(&limits);
  BALLAST_RETURN_IF_ERROR(config::Validate(limits));
  Jobs jobs(store);
  for (const std::string& job_id : request.job_ids()) BALLAST_RETURN_IF_ERROR(jobs.Get(job_id).status());
  BALLAST_ASSIGN_OR_RETURN(const std::vector<v1::Device> devices, SelectDevices(store, request.devices()));

  ModelLoads loads;
  InvalidRuns invalid(request.include_invalid());
  LatestConditions latest(request);
  BALLAST_RETURN_IF_ERROR(VisitRuns(store, request, devices, [&](const v1::Run& run) -> absl::Status {
    const bool has_model = std::ranges::any_of(
        LoadsOf(run), [&request](const LoadOfRun& entry) { return entry.load->model_id() == request.model_id(); });
    if (!has_model || invalid.LeavesOut(run)) return absl::OkStatus();
    BALLAST_ASSIGN_OR_RETURN(const v1::Job* const job, jobs.Get(run.job_id()));
    loads.Add(run, *job);
    latest.Look(run, *job);
    return absl::OkStatus();
  }));

  ComparedModel chosen;
  std::uint32_t others = 0;
  for (ComparedModel& model : loads.Compare()) {
    // A run of several models brings the others along.
    if (model.comparison.model_id() != request.model_id()) continue;
    if (latest.conditions().has_value() && SameConditions(model.comparison.conditions(), *latest.conditions())) {
      chosen = std::move(model);
    } else {
      others += LoadCount(model);
    }
  }
  if (!latest.conditions().has_value()) {
    if (!entries.ok() && others == 0) {
      return absl::NotFoundError(
          fmt::format("{}; nor was it loaded on these devices", std::string(entries.status().message())));
    }
    // Nothing was measured: estimates are for the usual way.
    chosen.load.set_loader(request.loader() == v1::ModelLoad::LOADER_UNSPECIFIED ? v1::ModelLoad::MMAP
                                                                                 : request.loader());
    chosen.load.set_runtime(request.runtime() == v1::ModelLoad::RUNTIME_UNSPECIFIED ? v1::ModelLoad::BUILTIN
                                                                                    : request.runtime());
    chosen.comparison.mutable_conditions()->set_loader(chosen.load.loader());
    chosen.comparison.mutable_conditions()->set_runtime(chosen.load.runtime());
    chosen.comparison.mutable_conditions()->set_cache(v1::COLD);
  }
  chosen.comparison.set_model_id(request.model_id());
  // What the catalogue says now is what the next job gets.
  if (entries.ok()) {
    for (const v1::ModelEntry& entry : *entries) {
      v1::ModelDescription& description = chosen.descriptions[entry.quant()];
      if (entry.has_model()) description = entry.model();
    }
  }

  v1::ModelAdvice advice = AdviseOnLevels({.comparison = chosen.comparison,
                                           .load = chosen.load,
                                           .descriptions = chosen.descriptions,
                                           .devices = devices,
                                           .limits = limits});
  if (others > 0) {
    advice.add_remarks(fmt::format(
        "{} more loads of this model were made under other conditions and do not count here: name their jobs to have "
        "advice from them",
        others));
  }
  for (std::string& warning : invalid.Warnings()) advice.add_remarks(std::move(warning));
  return advice;
}

}  // namespace ballast::report
