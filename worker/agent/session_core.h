// The decisions of the worker's side of a session: what is said, what is done about what is heard, when to try again.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/worker_service.pb.h"
#include "worker/agent/backoff.h"
#include "worker/agent/peer_clock.h"
#include "worker/agent/run_taker.h"
#include "worker/agent/spool.h"

namespace ballast::agent {

// Who a worker is, and how patient.
struct SessionIdentity {
  std::string device_id = {};
  std::map<std::string, std::string> labels = {};
  std::chrono::milliseconds reconnect_max{30'000};
  // How long the coordinator may take for its welcome.
  std::chrono::milliseconds welcome_timeout{10'000};
};

// Refusals that will be the same again until a person changes something.
[[nodiscard]] bool IsRefusal(const absl::Status& status);

// Carries out what the coordinator asks for. Calls `runs` and `spool`; hold no lock that they, or who listens to them,
// may want.
void CarryOut(const v1::CoordinatorMessage& message, RunTaker* runs, Spool* spool);

// One session after the other, without a network, threads or a clock of its own: times are those of the device's
// monotonic clock and never go back. Whoever drives it reads the records (SpoolReader, rewound for each session) and
// moves the messages; every message that arrives goes to Hear, then to CarryOut. Not thread-safe.
class SessionCore {
 public:
  // `spool`, `runs` and `clock` outlive the core. `seed` is that of the pauses.
  SessionCore(SessionIdentity identity, const Spool* spool, const RunTaker* runs, PeerClock* clock, std::uint64_t seed);

  // A session begins: its first message.
  [[nodiscard]] v1::WorkerMessage Begin(std::chrono::nanoseconds now, v1::DeviceFacts facts);

  // What to do next.
  struct Step {
    enum class Kind {
      kWait,    // nothing before `until`, unless something happens
      kSend,    // send `message`
      kRecord,  // read the next record, send it, and tell RecordRead
      kEnd,     // end the session because of `problem`
    };
    Kind kind = Kind::kWait;
    std::chrono::nanoseconds until{};
    v1::WorkerMessage message;
    absl::Status problem;
  };
  [[nodiscard]] Step Next(std::chrono::nanoseconds now);
  // Whether there was a record.
  void RecordRead(bool found);

  // A message arrived.
  void Hear(std::chrono::nanoseconds now, const v1::CoordinatorMessage& message);

  // Something is there to be told. What cannot be told is forgotten where the next hello says it anyway.
  void RecordsWait() { records_wait_ = true; }
  void Tell(const v1::RunProgress& progress);
  void Tell(const v1::AssignmentRejected& rejected);

  // The session is over; how long to wait before the next.
  [[nodiscard]] std::chrono::milliseconds End(const absl::Status& status);

  // Whether the session that is going on was welcomed.
  [[nodiscard]] bool welcomed() const { return welcomed_; }

 private:
  [[nodiscard]] v1::WorkerMessage Heartbeat(std::chrono::nanoseconds now);

  const SessionIdentity identity_;
  const Spool* const spool_;
  const RunTaker* const runs_;
  PeerClock* const clock_;
  Backoff backoff_;

  bool welcomed_ = false;
  std::chrono::nanoseconds began_{};
  std::chrono::nanoseconds heartbeat_interval_{};
  std::chrono::nanoseconds next_heartbeat_{};
  std::uint64_t clock_probe_ = 0;          // the last that was asked
  std::chrono::nanoseconds probe_time_{};  // when
  std::deque<v1::AssignmentRejected> rejections_;
  std::optional<v1::RunProgress> progress_;
  bool records_wait_ = false;
};

}  // namespace ballast::agent
