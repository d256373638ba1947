#include "worker/agent/end_of_run.h"

#include <csignal>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "worker/environment/oom_daemons.h"

namespace ballast::agent {
namespace {

bool WasOomKilled(const EndFacts& facts) {
  if (facts.exit.signal != SIGKILL) return false;
  if (facts.kernel_log == OomVerdict::kOther) return false;  // the counts may have risen by that victim
  if (facts.kernel_log != OomVerdict::kNone) return true;
  // The count of a cgroup that the runner has for itself is as good as the kernel's word, whoever else wanted its end.
  if (facts.own_group && facts.oom.kills) return *facts.oom.kills > 0;
  if (facts.killed_by_agent) return false;
  // A cgroup counts every kill of its processes. Where it counted none, the machine's kill was somebody else's.
  return facts.oom.kills.value_or(facts.oom.machine_kills.value_or(0)) > 0;
}

// The kernel looks for a victim because a cgroup's limit is hit, which it counts there, or because the machine has no
// memory left, which it counts nowhere.
v1::Killer FindOomKiller(const EndFacts& facts) {
  if (facts.kernel_log == OomVerdict::kMemcg) return v1::KERNEL_MEMCG_OOM;
  if (facts.kernel_log == OomVerdict::kGlobal) return v1::KERNEL_GLOBAL_OOM;
  if (facts.oom.limit_hits == 0) return facts.sees_every_limit ? v1::KERNEL_GLOBAL_OOM : v1::UNKNOWN;
  // A limit was hit. Where it had other victims as well, it may have had only those.
  const std::optional<std::uint64_t> victims =
      facts.oom.kills_under_limit ? facts.oom.kills_under_limit : facts.oom.machine_kills;
  if (!facts.oom.kills || !victims) return v1::UNKNOWN;
  return *victims <= *facts.oom.kills ? v1::KERNEL_MEMCG_OOM : v1::UNKNOWN;
}

std::string OomMessage(v1::Killer killer, std::string_view subject, const std::string& limit_cgroup) {
  switch (killer) {
    case v1::KERNEL_MEMCG_OOM:
      if (limit_cgroup.empty()) return fmt::format("the kernel OOM-killed {} at a memory cgroup's limit", subject);
      return fmt::format("the kernel OOM-killed {} at the limit of the memory cgroup {}", subject, limit_cgroup);
    case v1::KERNEL_GLOBAL_OOM:
      return fmt::format("the kernel OOM-killed {}: the machine was out of memory", subject);
    default:
      return fmt::format("the kernel OOM-killed {}; nothing tells whether at a cgroup's limit or for the whole machine",
                         subject);
  }
}

std::string Describe(const v1::SignalSender& sender) {
  if (sender.pid() == 0) return "a process that is not visible from here";
  return fmt::format("{} (pid {})", sender.command().empty() ? "a process that has ended since" : sender.command(),
                     sender.pid());
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

std::string Count(const std::optional<std::uint64_t>& count) {
  return count ? std::to_string(*count) : "an unknown number";
}

std::string Times(std::uint64_t count) {
  return count == 1 ? std::string("once") : fmt::format("{} times", count);
}

std::string DescribeLog(OomVerdict verdict) {
  switch (verdict) {
    case OomVerdict::kNone:
      return "kernel log: it names no OOM kill of the runner";
    case OomVerdict::kGlobal:
      return "kernel log: the runner was killed because the machine was out of memory";
    case OomVerdict::kMemcg:
      return "kernel log: the runner was killed at a memory cgroup's limit";
    case OomVerdict::kUnclear:
      return "kernel log: the runner was OOM-killed, without a reason";
    case OomVerdict::kOther:
      return "kernel log: it names other victims of the OOM killer, and not the runner";
  }
  return "kernel log: unknown";
}

void Set(v1::OutcomeKind kind, std::string message, v1::Killer killer, v1::Outcome* outcome) {
  outcome->set_kind(kind);
  outcome->set_message(std::move(message));
  outcome->mutable_evidence()->set_killer(killer);
}

// Of a program that nobody here ended.
void SetProgramEnd(const base::ExitStatus& exit, v1::Outcome* outcome) {
  if (exit.signal == 0) {
    Set(exit.exit_code == 0 ? v1::COMPLETED : v1::COMMAND_FAILED,
        fmt::format("the program exited with code {}", exit.exit_code), v1::KILLER_UNSPECIFIED, outcome);
  } else if (IsOwnFault(exit.signal)) {
    Set(v1::COMMAND_FAILED,
        fmt::format("the program was ended by signal {} ({})", exit.signal, ::strsignal(exit.signal)), v1::SELF,
        outcome);
  } else {
    Set(v1::COMMAND_FAILED,
        fmt::format("the program was ended by signal {} ({}), which it or somebody sent; the kernel counts no OOM kill "
                    "of it",
                    exit.signal, ::strsignal(exit.signal)),
        v1::UNKNOWN, outcome);
  }
}

}  // namespace

v1::Outcome ClassifyEnd(const EndFacts& facts) {
  v1::Outcome outcome;
  outcome.mutable_evidence()->set_signal(facts.exit.signal);
  outcome.mutable_evidence()->set_exit_code(facts.exit.exit_code);

  if (facts.finished) {
    if (facts.finished->outcome() == v1::CANCELLED && facts.finished->has_terminated_by()) {
      const v1::SignalSender& sender = facts.finished->terminated_by();
      const bool daemon = environment::IsOomDaemon(sender.command());
      *outcome.mutable_evidence()->mutable_signal_sender() = sender;
      Set(daemon ? v1::OOM_KILLED : v1::WORKER_CRASHED, fmt::format("{} ended the runner by SIGTERM", Describe(sender)),
          daemon ? v1::USERSPACE_OOM_DAEMON : v1::UNKNOWN, &outcome);
    } else if (facts.asked && facts.finished->outcome() == v1::CANCELLED) {
      Set(facts.asked->outcome, facts.asked->reason, facts.asked->killer, &outcome);
    } else {
      Set(facts.finished->outcome(), facts.finished->message(), v1::KILLER_UNSPECIFIED, &outcome);
    }
    return outcome;
  }
  if (WasOomKilled(facts)) {
    const v1::Killer killer = FindOomKiller(facts);
    const std::string_view subject = facts.is_program ? "the program" : "the runner";
    Set(v1::OOM_KILLED, OomMessage(killer, subject, facts.oom.limit_cgroup), killer, &outcome);
    return outcome;
  }
  if (facts.exit.signal == SIGKILL && !facts.killed_by_agent && facts.oom.oomd_marks > 0) {
    Set(v1::OOM_KILLED, fmt::format("systemd-oomd killed the cgroup {} with the runner in it", facts.oom.oomd_cgroup),
        v1::USERSPACE_OOM_DAEMON, &outcome);
    return outcome;
  }
  if (facts.asked) {
    Set(facts.asked->outcome, facts.asked->reason, facts.asked->killer, &outcome);
    return outcome;
  }
  if (facts.killed_by_agent) {
    Set(v1::WORKER_CRASHED, "the runner broke off its reports to the agent, which then ended it", v1::SELF, &outcome);
    return outcome;
  }
  if (facts.is_program) {
    SetProgramEnd(facts.exit, &outcome);
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

std::vector<std::string> DescribeEnd(const EndFacts& facts) {
  std::vector<std::string> findings;
  if (facts.finished) findings.push_back(fmt::format("runner: its last word was \"{}\"", facts.finished->message()));
  if (facts.finished && facts.finished->has_terminated_by()) {
    findings.push_back(fmt::format("runner: SIGTERM came from {}", Describe(facts.finished->terminated_by())));
  }
  findings.push_back(facts.exit.signal != 0
                         ? fmt::format("wait status: signal {} ({})", facts.exit.signal, ::strsignal(facts.exit.signal))
                         : fmt::format("wait status: exit code {}", facts.exit.exit_code));
  if (facts.killed_by_agent) findings.emplace_back("agent: it sent SIGKILL");
  if (facts.asked) findings.push_back(fmt::format("agent: it asked for the end: {}", facts.asked->reason));
  findings.push_back(facts.kernel_log_readable ? DescribeLog(facts.kernel_log)
                                               : std::string("kernel log: not readable here"));
  findings.push_back(fmt::format("OOM kills in the last seconds: {} in the runner's cgroup{}, {} on the machine",
                                 Count(facts.oom.kills), facts.own_group ? "" : " (which it shares)",
                                 Count(facts.oom.machine_kills)));
  if (facts.oom.limit_hits > 0) {
    findings.push_back(fmt::format("cgroup limits: that of {} made the kernel look for a victim, {}",
                                   facts.oom.limit_cgroup, Times(facts.oom.limit_hits)));
  } else {
    findings.emplace_back(facts.sees_every_limit
                              ? "cgroup limits: none made the kernel look for a victim"
                              : "cgroup limits: none that is visible from here made the kernel look for a victim");
  }
  if (facts.oom.oomd_marks > 0) {
    findings.push_back(fmt::format("systemd-oomd: it marked {} as killed", facts.oom.oomd_cgroup));
  }
  findings.push_back(facts.oom_daemons.empty()
                         ? std::string("userspace OOM daemons: none runs")
                         : fmt::format("userspace OOM daemons: {}", fmt::join(facts.oom_daemons, ", ")));
  if (!facts.note.empty()) findings.push_back(facts.note);
  return findings;
}

}  // namespace ballast::agent
