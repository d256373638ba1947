// Schedules: jobs that the clock submits. Inside of the core only.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/planning.pb.h"
#include "coordinator/core/cron.h"
#include "coordinator/core/state.h"
#include "coordinator/core/turn.h"

namespace ballast::core {

// Not thread-safe.
class ScheduleDesk {
 public:
  explicit ScheduleDesk(State* state) : state_(state) {}

  // See Core.
  absl::StatusOr<v1::Schedule> Put(Turn& turn, v1::Schedule schedule, bool administrator);
  [[nodiscard]] std::vector<v1::Schedule> List() const;
  [[nodiscard]] absl::StatusOr<v1::Schedule> Find(const std::string& schedule_id) const;
  absl::StatusOr<v1::Schedule> SetPaused(Turn& turn, const std::string& schedule_id, bool paused,
                                         const std::string& requester, bool administrator);
  absl::StatusOr<v1::Schedule> Delete(Turn& turn, const std::string& schedule_id, const std::string& requester,
                                      bool administrator);

  // Whether a job that was asked for is wanted still, as of its submission. FAILED_PRECONDITION where the schedule was
  // deleted or paused meanwhile. OK for what no schedule asked for.
  [[nodiscard]] absl::Status CheckWanted(const JobOrigin& origin) const;
  // The job for a time is there, or cannot be.
  void Submitted(Turn& turn, const JobOrigin& origin, const std::string& job_id);
  void Refused(Turn& turn, const JobOrigin& origin, const std::string& reason);

  // A restart: a schedule as it was stored.
  void Restore(v1::Schedule schedule);
  // Wants the jobs whose time has come, and arms the timer of plans.
  void CheckTime(Turn& turn);

 private:
  struct Timing {
    Cron cron;
    absl::TimeZone zone;
    std::optional<std::chrono::nanoseconds> want_again;  // the job for its next time was asked for
  };
  absl::StatusOr<Timing> ReadTiming(const v1::Schedule& schedule) const;
  // The schedule, where whoever asks may change it. NOT_FOUND, PERMISSION_DENIED.
  absl::StatusOr<v1::Schedule*> FindOwn(const std::string& schedule_id, const std::string& requester,
                                        bool administrator);
  void Due(Turn& turn, v1::Schedule* schedule, Timing* timing);
  // A time was decided on; the next is the first after `after`.
  void Decide(Turn& turn, v1::Schedule* schedule, base::SystemTime time, base::SystemTime after, std::string problem);
  // The next time after `after`, as of now, is the schedule's.
  void SetNext(base::SystemTime wall, base::SystemTime after, v1::Schedule* schedule);
  // The next time again, where the clock was set back since it was worked out.
  void LookAgain(Turn& turn, v1::Schedule* schedule, const Timing& timing);
  void Arm(const Instant& now);

  State* state_;
  std::map<std::string, Timing> timings_;  // by schedule
};

}  // namespace ballast::core
