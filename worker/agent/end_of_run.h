// From the facts of a runner's end to the outcome of its run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "common/base/child_process.h"
#include "worker/agent/kernel_log.h"

namespace ballast::agent {

// An end that the agent asked for: on a cancellation, a timeout, or its own stop.
struct AskedEnd {
  v1::OutcomeKind outcome = v1::CANCELLED;
  std::string reason;  // one sentence
};

// What is known when a runner has ended.
struct EndFacts {
  base::ExitStatus exit;
  std::optional<v1::RunnerFinished> finished;  // the runner's own last word
  std::optional<AskedEnd> asked;
  bool killed_by_agent = false;
  // Rises in the last seconds; absent where the count cannot be read. The kernel counts a kill for the machine and for
  // the victim's own memory cgroup, whatever the reason of the kill.
  std::optional<std::uint64_t> recent_machine_oom_kills;
  std::optional<std::uint64_t> recent_cgroup_oom_kills;
  OomVerdict kernel_log = OomVerdict::kNone;
  bool limit_is_machine = true;  // no memory cgroup has a limit below the machine's memory
  // Bytes that could still be allocated at the last sample: under the limit that holds, and on the machine.
  std::optional<std::uint64_t> limit_available_bytes;
  std::optional<std::uint64_t> machine_available_bytes;
};

// Kind, message, killer, signal and exit code; the rest of the evidence is the caller's. Never a guess: where the facts
// do not tell who killed the runner, the killer is UNKNOWN. Pure.
[[nodiscard]] v1::Outcome ClassifyEnd(const EndFacts& facts);

}  // namespace ballast::agent
