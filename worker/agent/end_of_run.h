// From the facts of a runner's end to the outcome of its run.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "common/base/child_process.h"
#include "worker/agent/kernel_log.h"
#include "worker/environment/oom_watch.h"

namespace ballast::agent {

// An end that the agent asked for: on a cancellation, a timeout, its own stop, or to protect the device.
struct AskedEnd {
  v1::OutcomeKind outcome = v1::CANCELLED;
  std::string reason;             // one sentence
  v1::Killer killer = v1::AGENT;  // GUARD, where it was that
};

// What is known when a runner has ended.
struct EndFacts {
  base::ExitStatus exit;
  std::optional<v1::RunnerFinished> finished;  // the runner's own last word
  std::optional<AskedEnd> asked;
  bool killed_by_agent = false;
  bool is_program = false;  // it had become the program under test, whose exit code is a finding
  // Rises in the last seconds. The kernel counts a kill for the machine and for the victim's own memory cgroup,
  // whatever the reason of the kill.
  environment::OomCounts oom;
  bool own_group = false;         // the cgroup that counts has the runner, and what it started, alone
  bool sees_every_limit = false;  // no limit could have been hit without being counted
  bool kernel_log_readable = false;
  OomVerdict kernel_log = OomVerdict::kNone;
  std::vector<std::string> oom_daemons;  // userspace OOM daemons that run, by name
  std::string note;                      // what was not as it should be around the runner; empty where nothing was
};

// Kind, message, killer, signal, its sender and exit code; the rest of the evidence is the caller's. Never a guess:
// where the facts do not tell who killed the runner, the killer is UNKNOWN. Pure.
[[nodiscard]] v1::Outcome ClassifyEnd(const EndFacts& facts);

// What was looked at for that, and what it said: one sentence each, for people. Pure.
[[nodiscard]] std::vector<std::string> DescribeEnd(const EndFacts& facts);

}  // namespace ballast::agent
