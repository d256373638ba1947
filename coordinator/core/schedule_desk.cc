#include "coordinator/core/schedule_desk.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "coordinator/core/health_desk.h"
#include "coordinator/core/reservation_desk.h"
#include "coordinator/core/selector.h"
#include "coordinator/core/utc_text.h"

namespace ballast::core {
namespace {

constexpr std::size_t kMaxSchedules = 1000;
// A time that is not longer ago than this was not missed: cron's own grain.
constexpr std::chrono::nanoseconds kOnTime = std::chrono::minutes(1);

// A clock that is set back by up to this leaves what was decided on: the schedule waits until those times have passed
// again. One that was further ahead than this would keep it silent for as long as that.
constexpr std::chrono::nanoseconds kClockSetBack = std::chrono::hours(1);

base::SystemTime NextOf(const v1::Schedule& schedule) {
  return base::FromProto(schedule.next_time());
}

// Whether the last time was decided on by a clock that was far ahead.
bool IsLastTimeAhead(const v1::Schedule& schedule, base::SystemTime wall) {
  return schedule.has_last_time() && base::FromProto(schedule.last_time()) - wall > kClockSetBack;
}

// No time at or before this is the schedule's next, where what is before `after` was seen to.
base::SystemTime DecidedUntil(const v1::Schedule& schedule, base::SystemTime wall, base::SystemTime after) {
  after = std::min(after, wall);
  if (!schedule.has_last_time() || IsLastTimeAhead(schedule, wall)) return after;
  return std::max(after, base::FromProto(schedule.last_time()));
}

// Where nobody says who he is, nobody is refused.
absl::Status CheckOwner(const v1::Schedule& schedule, const std::string& requester, bool administrator) {
  if (administrator || requester.empty() || requester == schedule.submitter()) return absl::OkStatus();
  return absl::PermissionDeniedError(
      fmt::format("schedule {} is {}'s, not {}'s", schedule.schedule_id(), schedule.submitter(), requester));
}

}  // namespace

absl::StatusOr<ScheduleDesk::Timing> ScheduleDesk::ReadTiming(const v1::Schedule& schedule) const {
  Timing timing;
  absl::StatusOr<Cron> cron = Cron::Parse(schedule.cron());
  if (!cron.ok()) return base::WithContext(cron.status(), "cron");
  timing.cron = *std::move(cron);
  const std::string zone = schedule.time_zone().empty() ? "UTC" : schedule.time_zone();
  if (zone == "UTC") {
    timing.zone = absl::UTCTimeZone();
  } else if (state_->options().find_time_zone) {
    absl::StatusOr<absl::TimeZone> found = state_->options().find_time_zone(zone);
    if (!found.ok()) return base::WithContext(found.status(), "time_zone");
    timing.zone = *found;
  } else {
    return absl::InvalidArgumentError(fmt::format("time_zone: {} is not known here", base::Quoted(zone)));
  }
  return timing;
}

absl::StatusOr<v1::Schedule> ScheduleDesk::Find(const std::string& schedule_id) const {
  const auto known = state_->schedules.find(schedule_id);
  if (known != state_->schedules.end()) return known->second;
  std::vector<std::string> names;
  for (const auto& [name, schedule] : state_->schedules) names.push_back(name);
  const std::string near =
      state_->options().did_you_mean ? state_->options().did_you_mean(schedule_id, names) : std::string();
  return absl::NotFoundError(fmt::format("no schedule '{}'{}{}", schedule_id, near.empty() ? "" : "; ", near));
}

absl::StatusOr<v1::Schedule*> ScheduleDesk::FindOwn(const std::string& schedule_id, const std::string& requester,
                                                    bool administrator) {
  BALLAST_RETURN_IF_ERROR(Find(schedule_id).status());
  v1::Schedule& schedule = state_->schedules.at(schedule_id);
  BALLAST_RETURN_IF_ERROR(CheckOwner(schedule, requester, administrator));
  return &schedule;
}

absl::StatusOr<v1::Schedule> ScheduleDesk::Put(Turn& turn, v1::Schedule schedule, bool administrator) {
  BALLAST_ASSIGN_OR_RETURN(Timing timing, ReadTiming(schedule));
  // One that is paused may name what cannot be used at the moment: that is when one wants to pause it.
  if (!schedule.paused()) BALLAST_RETURN_IF_ERROR(SelectDevices(state_, schedule.job()).status());
  const auto known = state_->schedules.find(schedule.schedule_id());
  schedule.clear_next_time();
  schedule.clear_last_time();
  schedule.clear_last_job_id();
  schedule.clear_last_problem();
  *schedule.mutable_create_time() = base::ToProto(turn.wall());
  if (known != state_->schedules.end()) {
    const v1::Schedule& before = known->second;
    BALLAST_RETURN_IF_ERROR(CheckOwner(before, schedule.submitter(), administrator));
    schedule.set_submitter(before.submitter());
    *schedule.mutable_create_time() = before.create_time();
    if (before.has_last_time()) *schedule.mutable_last_time() = before.last_time();
    schedule.set_last_job_id(before.last_job_id());
    schedule.set_last_problem(before.last_problem());
  } else if (state_->schedules.size() >= kMaxSchedules) {
    return absl::FailedPreconditionError(
        fmt::format("there are {} schedules already, as many as may be", kMaxSchedules));
  }
  const std::string schedule_id = schedule.schedule_id();
  timings_.insert_or_assign(schedule_id, std::move(timing));
  SetNext(turn.wall(), turn.wall(), &schedule);
  turn.Write(PutSchedule{schedule});
  state_->schedules.insert_or_assign(schedule_id, schedule);
  Arm(turn.now());
  return schedule;
}

absl::StatusOr<v1::Schedule> ScheduleDesk::SetPaused(Turn& turn, const std::string& schedule_id, bool paused,
                                                     const std::string& requester, bool administrator) {
  BALLAST_ASSIGN_OR_RETURN(v1::Schedule * schedule, FindOwn(schedule_id, requester, administrator));
  if (!paused) {
    BALLAST_ASSIGN_OR_RETURN(Timing timing, ReadTiming(*schedule));
    BALLAST_RETURN_IF_ERROR(SelectDevices(state_, schedule->job()).status());
    timings_.insert_or_assign(schedule_id, std::move(timing));
  }
  schedule->set_paused(paused);
  SetNext(turn.wall(), turn.wall(), schedule);
  turn.Write(PutSchedule{*schedule});
  Arm(turn.now());
  return *schedule;
}

std::vector<v1::Schedule> ScheduleDesk::List() const {
  std::vector<v1::Schedule> schedules;
  for (const auto& [schedule_id, schedule] : state_->schedules) schedules.push_back(schedule);
  return schedules;
}

absl::StatusOr<v1::Schedule> ScheduleDesk::Delete(Turn& turn, const std::string& schedule_id,
                                                  const std::string& requester, bool administrator) {
  BALLAST_ASSIGN_OR_RETURN(v1::Schedule * schedule, FindOwn(schedule_id, requester, administrator));
  v1::Schedule gone = std::move(*schedule);
  state_->schedules.erase(schedule_id);
  timings_.erase(schedule_id);
  turn.Write(DeleteSchedule{schedule_id});
  return gone;
}

void ScheduleDesk::SetNext(base::SystemTime wall, base::SystemTime after, v1::Schedule* schedule) {
  Timing& timing = timings_.at(schedule->schedule_id());
  timing.want_again.reset();
  schedule->clear_next_time();
  after = DecidedUntil(*schedule, wall, after);
  // What it says has not been yet, and would keep the jobs of earlier times from being heard of.
  if (IsLastTimeAhead(*schedule, wall)) schedule->clear_last_time();
  if (schedule->paused()) return;
  if (const auto next = timing.cron.Next(after, timing.zone)) *schedule->mutable_next_time() = base::ToProto(*next);
}

void ScheduleDesk::LookAgain(Turn& turn, v1::Schedule* schedule, const Timing& timing) {
  // Told by the times themselves, not by a clock that is remembered: it may have been set while nobody was there.
  const auto next = timing.cron.Next(DecidedUntil(*schedule, turn.wall(), turn.wall()), timing.zone);
  if (!next || *next >= NextOf(*schedule)) return;
  SetNext(turn.wall(), turn.wall(), schedule);
  turn.Write(PutSchedule{*schedule});
}

void ScheduleDesk::Decide(Turn& turn, v1::Schedule* schedule, base::SystemTime time, base::SystemTime after,
                          std::string problem) {
  *schedule->mutable_last_time() = base::ToProto(time);
  schedule->set_last_problem(std::move(problem));
  SetNext(turn.wall(), after, schedule);
  turn.Write(PutSchedule{*schedule});
}

void ScheduleDesk::Due(Turn& turn, v1::Schedule* schedule, Timing* timing) {
  // Of the times that have passed the last counts.
  const std::chrono::nanoseconds catch_up = std::max(base::FromProto(schedule->catch_up()), kOnTime);
  base::SystemTime time = NextOf(*schedule);
  const base::SystemTime oldest = turn.wall() - catch_up;
  if (time < oldest) time = timing->cron.Next(oldest - std::chrono::nanoseconds(1), timing->zone).value_or(time);
  if (time < oldest || time > turn.wall()) {
    Decide(turn, schedule, NextOf(*schedule), turn.wall(),
           fmt::format("missed: {} passed, and the coordinator was there more than {} later",
                       UtcText(NextOf(*schedule)), base::FormatDuration(catch_up)));
    return;
  }
  while (const auto later = timing->cron.Next(time, timing->zone)) {
    if (*later > turn.wall()) break;
    time = *later;
  }
  if (!schedule->allow_overlap() && !schedule->last_job_id().empty() &&
      state_->FindJob(schedule->last_job_id()) != nullptr) {
    Decide(turn, schedule, time, time, fmt::format("skipped: job {} had not ended", schedule->last_job_id()));
    return;
  }
  WantJob want;
  want.origin.schedule_id = schedule->schedule_id();
  want.origin.scheduled_time = time;
  want.spec = schedule->job();
  want.request_id = fmt::format("ballast:schedule:{}:{}", schedule->schedule_id(),
                                std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count());
  want.submitter = schedule->submitter();
  turn.Want(std::move(want));
  timing->want_again = turn.steady() + kWantAgain;
}

absl::Status ScheduleDesk::CheckWanted(const JobOrigin& origin) const {
  if (origin.schedule_id.empty()) return absl::OkStatus();
  const auto schedule = state_->schedules.find(origin.schedule_id);
  if (schedule != state_->schedules.end() && !schedule->second.paused()) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format("skipped: schedule {} was {} before its job was there",
                                                   origin.schedule_id,
                                                   schedule == state_->schedules.end() ? "deleted" : "paused"));
}

void ScheduleDesk::Submitted(Turn& turn, const JobOrigin& origin, const std::string& job_id) {
  const auto schedule = state_->schedules.find(origin.schedule_id);
  if (schedule == state_->schedules.end()) return;
  if (schedule->second.has_last_time() && base::FromProto(schedule->second.last_time()) >= origin.scheduled_time)
    return;
  schedule->second.set_last_job_id(job_id);
  Decide(turn, &schedule->second, origin.scheduled_time, origin.scheduled_time, "");
  Arm(turn.now());
}

void ScheduleDesk::Refused(Turn& turn, const JobOrigin& origin, const std::string& reason) {
  const auto schedule = state_->schedules.find(origin.schedule_id);
  if (schedule == state_->schedules.end()) return;
  if (schedule->second.has_last_time() && base::FromProto(schedule->second.last_time()) >= origin.scheduled_time)
    return;
  Decide(turn, &schedule->second, origin.scheduled_time, origin.scheduled_time, reason);
  Arm(turn.now());
}

void ScheduleDesk::Restore(v1::Schedule schedule) {
  // A time zone that is not known any more stops the schedule, not the coordinator.
  absl::StatusOr<Timing> timing = ReadTiming(schedule);
  if (!timing.ok()) {
    schedule.clear_next_time();
    schedule.set_last_problem(std::string(timing.status().message()));
    timing = Timing();
  }
  const std::string schedule_id = schedule.schedule_id();
  timings_.insert_or_assign(schedule_id, *std::move(timing));
  state_->schedules.insert_or_assign(schedule_id, std::move(schedule));
}

void ScheduleDesk::CheckTime(Turn& turn) {
  for (auto& [schedule_id, schedule] : state_->schedules) {
    if (!schedule.has_next_time()) continue;
    Timing& timing = timings_.at(schedule_id);
    if (NextOf(schedule) > turn.wall()) {
      LookAgain(turn, &schedule, timing);
      continue;
    }
    if (timing.want_again && turn.steady() < *timing.want_again) continue;
    Due(turn, &schedule, &timing);
  }
  Arm(turn.now());
}

void ScheduleDesk::Arm(const Instant& now) {
  std::optional<std::chrono::nanoseconds> next;
  for (const auto& [schedule_id, schedule] : state_->schedules) {
    if (!schedule.has_next_time()) continue;
    std::chrono::nanoseconds left = NextOf(schedule) - now.wall;
    const Timing& timing = timings_.at(schedule_id);
    if (timing.want_again) left = *timing.want_again - now.steady;
    left = std::clamp(left, std::chrono::nanoseconds(1), kLookAtClock);
    next = std::min(next.value_or(left), left);
  }
  if (next) state_->ArmPlans(now.steady + *next);
}

}  // namespace ballast::core
