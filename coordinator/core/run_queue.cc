#include "coordinator/core/run_queue.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

#include "common/base/status.h"

namespace ballast::core {
namespace {

// What runs of jobs with the same devices have in common.
std::string PoolKey(const v1::JobSpec& spec) {
  std::string key = std::to_string(spec.workload().kind_case());
  if (spec.workload().has_command()) key += spec.workload().command().command_id();
  const v1::DeviceSelector& selector = spec.devices();
  const auto add = [&key](char kind, const std::string& text) {
    key += kind;
    key += std::to_string(text.size()) + ':' + text;
  };
  for (const auto& [label, value] :
       std::map<std::string, std::string>(selector.labels().begin(), selector.labels().end())) {
    add('l', label);
    add('v', value);
  }
  for (const std::string& device_id : std::set<std::string>(selector.device_ids().begin(), selector.device_ids().end()))
    add('d', device_id);
  add('e', selector.expression());
  return key;
}

void Join(DeviceEntry* device, Pool* pool) {
  pool->members.emplace(device->device.device_id(), device);
  const auto place = std::ranges::lower_bound(device->shared, pool->number, {}, &Pool::number);
  if (place == device->shared.end() || *place != pool) device->shared.insert(place, pool);
}

void Leave(DeviceEntry* device, Pool* pool) {
  pool->members.erase(device->device.device_id());
  std::erase(device->shared, pool);
}

// The best of one priority.
struct Class {
  std::chrono::nanoseconds waits_since{};  // of the job that waits longest
  Choice choice;
};

}  // namespace

bool Choice::Before(const Choice& other) const {
  if (run == nullptr || other.run == nullptr) return run != nullptr;
  const auto rank = [](const Choice& choice) {
    const JobEntry& job = *choice.run->job;
    return std::tuple(-choice.level, -job.job.spec().priority(), choice.use, job.sequence, choice.run->index);
  };
  return rank(*this) < rank(other);
}

absl::StatusOr<Pool*> RunQueue::PoolOf(RunEntry* run) {
  if (!run->run.device_id().empty()) {
    DeviceEntry* device = state_->FindDevice(run->run.device_id());
    return device == nullptr ? nullptr : &device->own;
  }
  const v1::JobSpec& spec = run->job->job.spec();
  if (run->job->pool_key.empty()) run->job->pool_key = PoolKey(spec);
  if (const auto known = pools_.find(run->job->pool_key); known != pools_.end()) return known->second.get();
  BALLAST_ASSIGN_OR_RETURN(DeviceFilter filter, DeviceFilter::Make(spec.devices(), spec.workload()));
  std::unique_ptr<Pool>& pool = pools_[run->job->pool_key];
  pool = std::make_unique<Pool>();
  pool->number = state_->NextPoolNumber();
  pool->key = run->job->pool_key;
  pool->filter = std::move(filter);
  for (auto& [device_id, device] : state_->devices()) {
    if (pool->filter.Matches(device.device)) Join(&device, pool.get());
  }
  return pool.get();
}

absl::Status RunQueue::Add(RunEntry* run) {
  if (run->lane != nullptr) return absl::OkStatus();
  BALLAST_ASSIGN_OR_RETURN(Pool * pool, PoolOf(run));
  if (pool == nullptr) return absl::OkStatus();
  JobEntry* job = run->job;
  std::unique_ptr<Lane>& lane = job->lanes[pool->number];
  if (lane == nullptr) {
    lane = std::make_unique<Lane>();
    lane->job = job;
    lane->pool = pool;
    pool->waiting[job->job.spec().priority()][job->job.submitter()][job->sequence] = lane.get();
  }
  lane->runs.emplace(run->index, run);
  ++job->generation;
  run->lane = lane.get();
  return absl::OkStatus();
}

void RunQueue::Remove(RunEntry* run) {
  Lane* lane = std::exchange(run->lane, nullptr);
  if (lane == nullptr) return;
  lane->runs.erase(run->index);
  if (!lane->runs.empty()) return;
  Pool* pool = lane->pool;
  const auto priority = pool->waiting.find(run->job->job.spec().priority());
  const auto submitter = priority->second.find(run->job->job.submitter());
  submitter->second.erase(run->job->sequence);
  if (submitter->second.empty()) priority->second.erase(submitter);
  if (priority->second.empty()) pool->waiting.erase(priority);
  run->job->lanes.erase(pool->number);
  if (pool->device != nullptr || !pool->waiting.empty()) return;
  for (const auto& [device_id, device] : pool->members) std::erase(device->shared, pool);
  pools_.erase(std::string(pool->key));
}

void RunQueue::UpdateMembership(DeviceEntry* device) {
  for (const auto& [key, pool] : pools_) {
    if (pool->filter.Matches(device->device)) {
      Join(device, pool.get());
    } else {
      Leave(device, pool.get());
    }
  }
}

void RunQueue::Forget(DeviceEntry* device) {
  for (Pool* pool : std::vector<Pool*>(device->shared)) Leave(device, pool);
}

RunEntry* RunQueue::FirstFor(Lane* lane, const DeviceEntry& device) {
  if (lane->pool->device != nullptr) return lane->runs.begin()->second;
  JobEntry* job = lane->job;
  const std::string& device_id = device.device.device_id();
  if (!job->placements.contains(device_id) && !device.refused.contains(job->job.job_id())) {
    return lane->runs.begin()->second;
  }
  Placement& placement = job->placements[device_id];
  if (std::exchange(placement.generation, job->generation) != job->generation) placement.cursor = 0;
  for (auto run = lane->runs.lower_bound(placement.cursor); run != lane->runs.end();) {
    // The runs of a group are of one variant.
    const std::size_t group = job->GroupOf(run->first);
    if (!placement.groups.contains(group) && !device.Refuses(*run->second)) {
      placement.cursor = run->first;
      return run->second;
    }
    run = lane->runs.lower_bound((group + 1) * job->job.spec().devices().count());
  }
  placement.cursor = job->runs.size();
  return nullptr;
}

double RunQueue::Level(const DeviceEntry& device, std::int32_t priority, std::chrono::nanoseconds waits_since,
                       std::chrono::nanoseconds now) const {
  std::chrono::nanoseconds since = waits_since;
  if (const auto served = device.served.find(priority); served != device.served.end()) {
    since = std::max(since, served->second);
  }
  // What goes on there will have been served when it is over.
  if (device.active != nullptr && device.active->job->job.spec().priority() == priority) since = now;
  return priority + base::ToSeconds(std::max(now - since, std::chrono::nanoseconds(0))) /
                        base::ToSeconds(state_->options().scheduling.priority_step);
}

Choice RunQueue::Next(DeviceEntry* device, const Instant& now) {
  if (device->quarantined()) {
    // Nothing but its self-test, which waits like any other where the fleet is full.
    const JobEntry* check = state_->FindJob(device->device.health().check_job_id());
    if (check == nullptr) return {};
    const auto lane = check->lanes.find(device->own.number);
    if (lane == check->lanes.end()) return {};
    return {.run = FirstFor(lane->second.get(), *device),
            .level = Level(*device, check->job.spec().priority(), check->waits_since, now.steady)};
  }
  const v1::Reservation* reservation = device->ReservationAt(now.wall);
  std::map<std::int32_t, Class, std::greater<>> classes;
  const auto look_into = [&](Pool* pool) {
    for (auto& [priority, submitters] : pool->waiting) {
      for (auto& [submitter, lanes] : submitters) {
        if (reservation != nullptr && reservation->holder() != submitter) continue;
        for (auto& [sequence, lane] : lanes) {
          if (lane->job->AtLimit()) continue;
          RunEntry* run = FirstFor(lane, *device);
          if (run == nullptr) continue;
          const Choice choice{.run = run, .use = share_.Use(submitter, now.steady)};
          const auto [best, first] = classes.try_emplace(priority, Class{lane->job->waits_since, choice});
          if (!first) {
            best->second.waits_since = std::min(best->second.waits_since, lane->job->waits_since);
            if (choice.Before(best->second.choice)) best->second.choice = choice;
          }
          break;
        }
      }
    }
  };
  look_into(&device->own);
  for (Pool* pool : device->shared) look_into(pool);

  Choice best;
  for (auto& [priority, candidates] : classes) {
    candidates.choice.level = Level(*device, priority, candidates.waits_since, now.steady);
    if (candidates.choice.Before(best)) best = candidates.choice;
  }
  return best;
}

void RunQueue::Begin(RunEntry* run, std::chrono::nanoseconds now) {
  Remove(run);
  ++run->job->active;
  ++state_->active_runs;
  share_.Begin(run->job->job.submitter(), now);
  if (run->job->floats()) run->job->placements[run->run.device_id()].groups.insert(run->job->GroupOf(run->index));
}

void RunQueue::End(DeviceEntry* device, RunEntry* run, std::chrono::nanoseconds now) {
  --run->job->active;
  --state_->active_runs;
  share_.End(run->job->job.submitter(), now);
  device->served[run->job->job.spec().priority()] = now;
}

void RunQueue::Withdraw(DeviceEntry* device, RunEntry* run) {
  run->job->placements[device->device.device_id()].groups.erase(run->job->GroupOf(run->index));
  run->run.clear_device_id();
}

void RunQueue::ForgetRefusals(DeviceEntry* device) {
  for (const auto& [job_id, variants] : device->refused) {
    JobEntry* job = state_->FindJob(job_id);
    if (job == nullptr) continue;
    const auto placement = job->placements.find(device->device.device_id());
    if (placement != job->placements.end()) placement->second.cursor = 0;
  }
  device->refused.clear();
}

std::vector<RunEntry*> RunQueue::WithoutDevice(const JobEntry& job) {
  std::vector<RunEntry*> none;
  for (const auto& [number, lane] : job.lanes) {
    if (lane->pool->device != nullptr) continue;
    const auto& members = lane->pool->members;
    const auto refuses_nothing = [&](const auto& member) { return !member.second->refused.contains(job.job.job_id()); };
    // A group that waits has left at least one of so many.
    if (std::ranges::count_if(members, refuses_nothing) >= job.job.spec().devices().count()) continue;
    for (const auto& [index, run] : lane->runs) {
      const auto may_take = [&, group = job.GroupOf(index)](const auto& member) {
        const auto placement = job.placements.find(member.first);
        const bool had_group = placement != job.placements.end() && placement->second.groups.contains(group);
        return !had_group && !member.second->Refuses(*run);
      };
      if (std::ranges::none_of(members, may_take)) none.push_back(run);
    }
  }
  return none;
}

void RunQueue::AddUse(const v1::Run& run, const std::string& submitter, const Instant& now) {
  for (const v1::Attempt& attempt : run.attempts()) {
    if (!attempt.has_start_time() || !attempt.has_end_time()) continue;
    const base::SystemTime end = base::FromProto(attempt.end_time());
    share_.Add(submitter, end - base::FromProto(attempt.start_time()), now.steady - (now.wall - end), now.steady);
  }
}

std::size_t RunQueue::OwnRunCount(const DeviceEntry& device) {
  std::size_t count = 0;
  for (const auto& [priority, submitters] : device.own.waiting) {
    for (const auto& [submitter, lanes] : submitters) {
      for (const auto& [sequence, lane] : lanes) count += lane->runs.size();
    }
  }
  return count;
}

}  // namespace ballast::core
