// The life of a run and what a job makes of it, as changes of their messages: the one place where states change.
//
//   QUEUED ──Assign──▶ ASSIGNED ──Start──▶ RUNNING ──FinishAttempt─▶ EndRun ──▶ ENDED
//     ▲ ▲                 │ │                 │  │                                ▲
//     │ └────Unassign─────┘ └──GiveUpAttempt──┘  └─ Requeue (another attempt) ─┐  │
//     │                            │                                           │  │
//     └────────────────────────────┴──────────── Requeue, or EndRun ───────────┘──┘
//   QUEUED ──Revive──▶ ASSIGNED or RUNNING: the attempt that was given up is still alive on its device.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "ballast/v1/job.pb.h"
#include "ballast/v1/record.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/worker_service.pb.h"
#include "common/base/clock.h"

namespace ballast::core {

[[nodiscard]] bool IsActive(const v1::Run& run);  // ASSIGNED or RUNNING
[[nodiscard]] bool IsEnded(const v1::Run& run);

// Number of the last attempt; 0 before the first.
[[nodiscard]] std::uint32_t LastAttempt(const v1::Run& run);

// The last attempt was given up and the run waits for another: a device that still has it may go on with it.
[[nodiscard]] bool MayRevive(const v1::Run& run, std::uint32_t attempt);
// Whether this attempt may yet go on in place of its replacement, which was assigned and has not begun.
[[nodiscard]] bool MayYield(const v1::Run& run, std::uint32_t attempt);

// A result of this attempt was taken over, or was kept as a late one.
[[nodiscard]] bool HasDeviceResult(const v1::Run& run, std::uint32_t attempt);

// QUEUED → ASSIGNED, with a new attempt.
void Assign(v1::Run* run);
// ASSIGNED → QUEUED, as if it had not been assigned.
void Unassign(v1::Run* run);
// Takes over how an attempt began, where that is not known yet. Returns whether it was not.
bool NoteStart(const v1::AttemptStarted& started, std::uint32_t attempt, v1::Run* run);
// ASSIGNED → RUNNING.
void Start(const v1::AttemptStarted& started, base::SystemTime now, v1::Run* run);
// The result of the last attempt, as the device says. A result without an outcome becomes INVALID. Decide next: Requeue
// or EndRun.
void FinishAttempt(v1::AttemptFinished finished, v1::Run* run);
// An end of the last attempt that the device did not tell (or that it refused). Decide next: Requeue or EndRun.
void GiveUpAttempt(v1::OutcomeKind kind, std::string message, base::SystemTime now, v1::Run* run);
// Back to the queue for another attempt.
void Requeue(v1::Run* run);
// QUEUED → ASSIGNED or RUNNING: takes the giving up of the last attempt back.
void Revive(v1::Run* run);
// → ENDED with the outcome of the last attempt.
void EndRun(base::SystemTime now, v1::Run* run);
// QUEUED → ENDED without an attempt that counts.
void EndQueuedRun(v1::OutcomeKind kind, std::string message, base::SystemTime now, v1::Run* run);
// Keeps an end that came too late. The outcome stays.
void AddLateResult(std::uint32_t attempt, v1::AttemptFinished finished, base::SystemTime now, v1::Run* run);

// Whether the policy allows another attempt after the last one. Only failures of the infrastructure do: the agent's
// crash, a reboot, a device that was lost before it started. Of a soak, attempts that brought it on do not count.
[[nodiscard]] bool MayRetry(const v1::Run& run, const v1::JobSpec& spec);

// How far the attempts of a soak that have ended have come together.
[[nodiscard]] v1::SoakProgress SoakSoFar(const v1::Run& run);

// Drops what is bulky: phases, steps, loads, cycles, the last samples and the kernel log. What is left is what watchers
// see.
void Slim(v1::Run* run);

// Limits of a policy, with the defaults where a field is absent.
[[nodiscard]] std::chrono::nanoseconds LostAfter(const v1::RunPolicy& policy);
[[nodiscard]] std::chrono::nanoseconds Timeout(const v1::RunPolicy& policy);  // zero: the worker's business

// Takes over in the job that a run has started or ended. Returns whether the job has ended with it.
void CountStart(base::SystemTime now, v1::Job* job);
bool CountEnd(const v1::Run& run, base::SystemTime now, v1::Job* job);

}  // namespace ballast::core
