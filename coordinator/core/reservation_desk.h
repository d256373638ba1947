// Reservations of devices. Inside of the core only.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/planning_service.pb.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/core/state.h"
#include "coordinator/core/turn.h"

namespace ballast::core {

inline constexpr std::chrono::nanoseconds kLongestReservation = std::chrono::hours(24 * 30);
// Times of plans are those of the wall clock, which can be set: it is looked at this often.
inline constexpr std::chrono::nanoseconds kLookAtClock = std::chrono::minutes(1);

// Not thread-safe.
class ReservationDesk {
 public:
  ReservationDesk(State* state, Scheduler* scheduler) : state_(state), scheduler_(scheduler) {}

  // See Core.
  absl::StatusOr<v1::Reservation> Create(Turn& turn, const std::string& reservation_id,
                                         const v1::CreateReservationRequest& request);
  [[nodiscard]] std::vector<v1::Reservation> List(const std::string& holder) const;
  absl::StatusOr<v1::Reservation> End(Turn& turn, const std::string& reservation_id, const std::string& requester,
                                      bool administrator);

  // A restart: a reservation as it was stored.
  void Restore(v1::Reservation reservation);
  // Begins and ends what is due, and arms the timer of plans.
  void CheckTime(Turn& turn);

 private:
  absl::StatusOr<std::vector<DeviceEntry*>> Choose(const v1::DeviceSelector& selector,
                                                   const v1::Reservation& reservation);
  void Attach(const v1::Reservation* reservation);
  void Remove(Turn& turn, const std::string& reservation_id);
  void Arm(const Instant& now);

  State* state_;
  Scheduler* scheduler_;
};

}  // namespace ballast::core
