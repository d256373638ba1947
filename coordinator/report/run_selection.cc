#include "coordinator/report/run_selection.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "common/base/status.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace ballast::report {
namespace {

// The number behind the dot of a run's identifier; 0 where there is none.
std::uint64_t RunNumber(std::string_view run_id) {
  std::uint64_t number = 0;
  const std::size_t dot = run_id.rfind('.');
  if (dot != std::string_view::npos) std::from_chars(run_id.data() + dot + 1, run_id.data() + run_id.size(), number);
  return number;
}

bool SubmittedBefore(const v1::Job& a, const v1::Job& b) {
  const auto key = [](const v1::Job& job) {
    return std::tuple(job.create_time().seconds(), job.create_time().nanos(), std::string_view(job.job_id()));
  };
  return key(a) < key(b);
}

std::string MissingMessage(const std::set<std::string>& jobs, const std::set<std::string>& runs) {
  std::string message;
  if (!jobs.empty()) message = fmt::format("no such job: {}", fmt::join(jobs, ", "));
  if (!runs.empty()) {
    message += fmt::format("{}no such run: {}", message.empty() ? "" : "; ", fmt::join(runs, ", "));
  }
  return message + "; `ballast jobs list` and `ballast runs list` show what there is";
}

}  // namespace

const v1::Job& RunSelection::JobOf(const v1::Run& run) const {
  // A handful of jobs: a search is as fast as an index.
  return *std::ranges::find(jobs, run.job_id(), &v1::Job::job_id);
}

bool IsRunId(std::string_view id) {
  return id.find('.') != std::string_view::npos;
}

absl::StatusOr<RunSelection> SelectRuns(storage::Store& store, std::span<const std::string> job_ids,
                                        std::span<const std::string> run_ids) {
  std::map<std::string, v1::Job> jobs;
  std::map<std::string, v1::Run> runs;
  std::set<std::string> missing_jobs;
  std::set<std::string> missing_runs;

  for (const std::string& job_id : std::set<std::string>(job_ids.begin(), job_ids.end())) {
    absl::StatusOr<v1::Job> job = store.GetJob(job_id);
    if (absl::IsNotFound(job.status())) {
      missing_jobs.insert(job_id);
      continue;
    }
    BALLAST_RETURN_IF_ERROR(job.status());
    jobs.emplace(job_id, *std::move(job));
    BALLAST_ASSIGN_OR_RETURN(std::vector<v1::Run> runs_of_job, store.RunsOfJob(job_id));
    for (v1::Run& run : runs_of_job) runs.emplace(run.run_id(), std::move(run));
  }
  for (const std::string& run_id : std::set<std::string>(run_ids.begin(), run_ids.end())) {
    if (runs.contains(run_id)) continue;
    absl::StatusOr<v1::Run> run = store.GetRun(run_id);
    if (absl::IsNotFound(run.status())) {
      missing_runs.insert(run_id);
      continue;
    }
    BALLAST_RETURN_IF_ERROR(run.status());
    if (!jobs.contains(run->job_id())) {
      BALLAST_ASSIGN_OR_RETURN(jobs[run->job_id()], store.GetJob(run->job_id()));
    }
    runs.emplace(run_id, *std::move(run));
  }
  if (!missing_jobs.empty() || !missing_runs.empty()) {
    return absl::NotFoundError(MissingMessage(missing_jobs, missing_runs));
  }

  RunSelection selection;
  for (auto& [id, job] : jobs) selection.jobs.push_back(std::move(job));
  std::ranges::sort(selection.jobs, SubmittedBefore);
  std::map<std::string_view, std::size_t> position_of_job;
  for (std::size_t i = 0; i < selection.jobs.size(); ++i) position_of_job[selection.jobs[i].job_id()] = i;
  for (auto& [id, run] : runs) selection.runs.push_back(std::move(run));
  const auto key = [&position_of_job](const v1::Run& run) {
    return std::tuple(position_of_job.at(run.job_id()), std::string_view(run.device_id()), run.repetition(),
                      RunNumber(run.run_id()));
  };
  std::ranges::sort(selection.runs, std::ranges::less(), key);
  return selection;
}

absl::StatusOr<std::vector<v1::Device>> DevicesOf(storage::Store& store, std::span<const v1::Run> runs) {
  std::set<std::string> ids;
  for (const v1::Run& run : runs) ids.insert(run.device_id());
  std::vector<v1::Device> devices;
  for (const std::string& id : ids) {
    absl::StatusOr<v1::Device> device = store.GetDevice(id);
    if (absl::IsNotFound(device.status())) {
      devices.emplace_back().set_device_id(id);
      continue;
    }
    BALLAST_RETURN_IF_ERROR(device.status());
    devices.push_back(*std::move(device));
  }
  return devices;
}

}  // namespace ballast::report
