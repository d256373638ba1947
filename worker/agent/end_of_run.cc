#include "worker/agent/end_of_run.h"

#include <csignal>
#include <cstring>

#include <fmt/format.h>

namespace ballast::agent {
namespace {

bool Rose(const std::optional<std::uint64_t>& count) {
  return count.value_or(0) > 0;
}

bool WasOomKilled(const EndFacts& facts) {
  if (facts.exit.signal != SIGKILL) return false;
  if (facts.kernel_log == OomVerdict::kOther) return false;  // the counts may have risen by that victim
  if (facts.kernel_log != OomVerdict::kNone) return true;
  if (facts.killed_by_agent) return false;
  // The runner's own cgroup counts every kill of its processes. Where it counted none, the machine's kill was somebody
  // else's.
  if (facts.recent_cgroup_oom_kills) return Rose(facts.recent_cgroup_oom_kills);
  return Rose(facts.recent_machine_oom_kills);
}

v1::Killer FindOomKiller(const EndFacts& facts) {
  if (facts.kernel_log == OomVerdict::kMemcg) return v1::KERNEL_MEMCG_OOM;
  if (facts.kernel_log == OomVerdict::kGlobal) return v1::KERNEL_GLOBAL_OOM;
  if (facts.limit_is_machine) return v1::KERNEL_GLOBAL_OOM;
  // Memory that the runner takes is taken from the cgroup's limit and from the machine alike: the one with far less
  // left ran out first.
  if (!facts.limit_available_bytes || !facts.machine_available_bytes) return v1::UNKNOWN;
  if (*facts.limit_available_bytes < *facts.machine_available_bytes / 2) return v1::KERNEL_MEMCG_OOM;
  if (*facts.machine_available_bytes < *facts.limit_available_bytes / 2) return v1::KERNEL_GLOBAL_OOM;
  return v1::UNKNOWN;
}

const char* OomMessage(v1::Killer killer) {
  switch (killer) {
    case v1::KERNEL_MEMCG_OOM:
      return "the kernel OOM-killed the runner at a memory cgroup's limit";
    case v1::KERNEL_GLOBAL_OOM:
      return "the kernel OOM-killed the runner: the machine was out of memory";
    default:
      return "the kernel OOM-killed the runner; nothing tells whether at a cgroup's limit or for the whole machine";
  }
}

// Signals that a process earns by what it does itself.
bool IsOwnFault(int signal) {
  switch (signal) {
    case SIGSEGV:
    case SIGBUS:
    case SIGABRT:
    case SIGILL:
    case SIGFPE:
    case SIGTRAP:
    case SIGSYS:
      return true;
    default:
      return false;
  }
}

void Set(v1::OutcomeKind kind, std::string message, v1::Killer killer, v1::Outcome* outcome) {
  outcome->set_kind(kind);
  outcome->set_message(std::move(message));
  outcome->mutable_evidence()->set_killer(killer);
}

}  // namespace

v1::Outcome ClassifyEnd(const EndFacts& facts) {
  v1::Outcome outcome;
  outcome.mutable_evidence()->set_signal(facts.exit.signal);
  outcome.mutable_evidence()->set_exit_code(facts.exit.exit_code);

  if (facts.finished) {
    if (facts.asked && facts.finished->outcome() == v1::CANCELLED) {
      Set(facts.asked->outcome, facts.asked->reason, v1::AGENT, &outcome);
    } else {
      Set(facts.finished->outcome(), facts.finished->message(), v1::KILLER_UNSPECIFIED, &outcome);
    }
    return outcome;
  }
  if (WasOomKilled(facts)) {
    const v1::Killer killer = FindOomKiller(facts);
    Set(v1::OOM_KILLED, OomMessage(killer), killer, &outcome);
    return outcome;
  }
  if (facts.asked) {
    Set(facts.asked->outcome, facts.asked->reason, v1::AGENT, &outcome);
    return outcome;
  }
  if (facts.killed_by_agent) {
    Set(v1::WORKER_CRASHED, "the runner broke off its reports to the agent, which then ended it", v1::SELF, &outcome);
    return outcome;
  }
  if (facts.exit.signal == SIGKILL) {
    Set(v1::WORKER_CRASHED,
        "the runner was killed by SIGKILL; the kernel counts no OOM kill of it, so somebody sent it", v1::UNKNOWN,
        &outcome);
    return outcome;
  }
  if (facts.exit.signal != 0) {
    Set(v1::WORKER_CRASHED,
        fmt::format("the runner was ended by signal {} ({})", facts.exit.signal, ::strsignal(facts.exit.signal)),
        IsOwnFault(facts.exit.signal) ? v1::SELF : v1::UNKNOWN, &outcome);
    return outcome;
  }
  Set(v1::WORKER_CRASHED,
      fmt::format("the runner exited with code {} without saying how the workload ended", facts.exit.exit_code),
      v1::SELF, &outcome);
  return outcome;
}

}  // namespace ballast::agent
