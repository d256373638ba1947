// The guard of one run: stands between the guard, which knows no runner, and the run, which knows no thresholds.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/os/cgroup.h"
#include "common/os/file_reader.h"
#include "worker/agent/end_of_run.h"
#include "worker/guard/memory_guard.h"
#include "worker/runner/runner_process.h"

namespace ballast::agent {

// Whether the device is guarded against this job's load: it is not where the job says so, nor where the load is meant
// to end in the OOM kill.
[[nodiscard]] bool IsGuarded(const v1::JobSpec& spec);

// Acts on the runner from the guard's own thread, and keeps what was done for the run's record. A run that is not
// guarded has one too, which does nothing. The public methods are for one thread.
class RunGuard final : private guard::GuardedLoad, private guard::GuardListener {
 public:
  // Opens what the guard reads. `spec` has its defaults; `place` is where the runner will stand,
  // `attempt_start` where offsets count from. A load that cannot become smaller is not asked to. Codes of
  // guard::MemoryGuard::Open.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<RunGuard>> Prepare(
      const v1::JobSpec& spec, const std::string& root, const os::CgroupLocation& place, const base::Clock* clock,
      std::chrono::nanoseconds attempt_start, bool can_shrink = true);
  ~RunGuard() override;

  // Watches from now on. `runner` outlives the watching and is not reaped before Stop().
  void Start(runner::RunnerProcess* runner);
  // Repeatable.
  void Stop();
  // Watches again after Stop(), as if nothing had been seen before.
  void Resume();

  // Readable when there is news: for poll().
  [[nodiscard]] int fd() const { return wake_.get(); }
  // What came up since the last time.
  struct News {
    std::vector<v1::Event> events;
    // The guard ended the run. Told again, with another reason, when it had to kill the runner.
    std::optional<AskedEnd> asked;
    bool killed = false;
  };
  [[nodiscard]] News TakeNews();

  // Every report of the runner: some answer to the guard.
  void AddReport(const v1::RunnerReport& report);

  // The acts; and in the message of a completed run, that the guard made it smaller.
  void Fill(v1::RunResult* result) const;

 private:
  // What the guard's thread leaves for the run's.
  struct Note {
    guard::Act act;
    // Of a trigger, which is no act.
    std::chrono::microseconds stall{0};
    std::chrono::microseconds window{0};
  };

  RunGuard(const base::Clock* clock, std::chrono::nanoseconds attempt_start);

  std::optional<std::uint64_t> HeldBytes() override;
  void AskToShrink(std::uint64_t bytes, std::chrono::nanoseconds pause) override;
  void AskToRelease() override;
  void Kill() override;
  void OnAct(const guard::Act& act) override;
  void OnTrigger(std::chrono::nanoseconds time, std::chrono::microseconds stall,
                 std::chrono::microseconds window) override;

  void Leave(const Note& note);
  void CollectNotes();
  void AddAct(const guard::Act& act);
  void AddReaction(v1::GuardAct::Action action, const google::protobuf::Duration& begun);

  const base::Clock* const clock_;
  const std::chrono::nanoseconds attempt_start_;
  std::string root_;
  base::Fd wake_;
  std::optional<guard::GuardOptions> options_;  // nothing where the run is not guarded
  bool holds_shmem_ = false;
  std::atomic<std::uint64_t> told_held_bytes_ = 0;  // by the runner
  runner::RunnerProcess* runner_ = nullptr;
  os::FileReader runner_status_;
  std::vector<char> buffer_;

  std::mutex mutex_;
  std::vector<Note> notes_;  // with mutex_; never grows beyond its first capacity

  std::vector<Note> collected_;  // kept for its memory
  std::vector<v1::GuardAct> acts_;
  News news_;
  std::uint64_t shrunk_bytes_ = 0;
  std::uint32_t shrinks_ = 0;

  std::unique_ptr<guard::MemoryGuard> guard_;  // last: its thread uses all of the above
};

}  // namespace ballast::agent
