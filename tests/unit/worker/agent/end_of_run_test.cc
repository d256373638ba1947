#include "worker/agent/end_of_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

namespace ballast::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;

EndFacts Killed() {
  EndFacts facts;
  facts.exit.signal = SIGKILL;
  facts.oom.machine_kills = 0;
  facts.oom.kills = 0;
  facts.own_group = true;
  facts.sees_every_limit = true;
  return facts;
}

// By the kernel's OOM killer, as the counts say.
EndFacts OomKilled() {
  EndFacts facts = Killed();
  facts.oom.machine_kills = 1;
  facts.oom.kills = 1;
  return facts;
}

EndFacts FinishedAs(v1::OutcomeKind kind) {
  EndFacts facts;
  facts.finished.emplace().set_outcome(kind);
  facts.finished->set_message("as the runner says");
  return facts;
}

void ExpectOutcome(const EndFacts& facts, v1::OutcomeKind kind, v1::Killer killer) {
  const v1::Outcome outcome = ClassifyEnd(facts);
  EXPECT_EQ(v1::OutcomeKind_Name(outcome.kind()), v1::OutcomeKind_Name(kind)) << outcome.message();
  EXPECT_EQ(v1::Killer_Name(outcome.evidence().killer()), v1::Killer_Name(killer)) << outcome.message();
  EXPECT_FALSE(outcome.message().empty());
  EXPECT_EQ(outcome.evidence().signal(), facts.exit.signal);
  EXPECT_EQ(outcome.evidence().exit_code(), facts.exit.exit_code);
}

TEST(EndOfRunTest, TheRunnersOwnWordCounts) {
  ExpectOutcome(FinishedAs(v1::COMPLETED), v1::COMPLETED, v1::KILLER_UNSPECIFIED);
  ExpectOutcome(FinishedAs(v1::ALLOCATION_FAILED), v1::ALLOCATION_FAILED, v1::KILLER_UNSPECIFIED);
  EndFacts lingered = FinishedAs(v1::COMPLETED);
  lingered.exit.signal = SIGKILL;
  lingered.killed_by_agent = true;
  ExpectOutcome(lingered, v1::COMPLETED, v1::KILLER_UNSPECIFIED);
}

TEST(EndOfRunTest, AnAskedEndHasTheKindThatWasAskedFor) {
  EndFacts graceful = FinishedAs(v1::CANCELLED);
  graceful.asked = AskedEnd{v1::TIMED_OUT, "too long"};
  ExpectOutcome(graceful, v1::TIMED_OUT, v1::AGENT);
  EXPECT_EQ(ClassifyEnd(graceful).message(), "too long");
  EndFacts forced = Killed();
  forced.asked = AskedEnd{v1::CANCELLED, "by a user"};
  forced.killed_by_agent = true;
  ExpectOutcome(forced, v1::CANCELLED, v1::AGENT);
  EndFacts too_late = FinishedAs(v1::COMPLETED);
  too_late.asked = AskedEnd{v1::CANCELLED, "by a user"};
  ExpectOutcome(too_late, v1::COMPLETED, v1::KILLER_UNSPECIFIED);
}

TEST(EndOfRunTest, TheGuardsEndNamesTheGuard) {
  EndFacts graceful = FinishedAs(v1::CANCELLED);
  graceful.asked = AskedEnd{v1::GUARD_STOPPED, "too little was left", v1::GUARD};
  ExpectOutcome(graceful, v1::GUARD_STOPPED, v1::GUARD);
  EXPECT_EQ(ClassifyEnd(graceful).message(), "too little was left");
  EndFacts forced = Killed();
  forced.asked = graceful.asked;
  forced.killed_by_agent = true;
  ExpectOutcome(forced, v1::GUARD_STOPPED, v1::GUARD);
  // The kernel was faster.
  EndFacts too_late = Killed();
  too_late.asked = graceful.asked;
  too_late.kernel_log = OomVerdict::kMemcg;
  ExpectOutcome(too_late, v1::OOM_KILLED, v1::KERNEL_MEMCG_OOM);
}

TEST(EndOfRunTest, AKillThatNobodyCountsIsSomebodys) {
  ExpectOutcome(Killed(), v1::WORKER_CRASHED, v1::UNKNOWN);
  EXPECT_THAT(ClassifyEnd(Killed()).message(), HasSubstr("SIGKILL"));
}

TEST(EndOfRunTest, OomKillsOfOthersAreNotTheRunners) {
  EndFacts facts = Killed();
  facts.oom.machine_kills = 1;
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::UNKNOWN);
  facts.own_group = false;
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::UNKNOWN);
}

TEST(EndOfRunTest, TheCountsAreNotTheRunnersWhereTheLogNamesAnotherVictim) {
  EndFacts facts = OomKilled();
  facts.own_group = false;
  facts.kernel_log = OomVerdict::kOther;
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::UNKNOWN);
}

TEST(EndOfRunTest, AKillWithoutALimitThatWasHitIsForTheMachine) {
  EndFacts facts = OomKilled();
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_GLOBAL_OOM);
  facts.oom.kills.reset();  // a kernel without cgroups
  facts.own_group = false;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_GLOBAL_OOM);
  facts.sees_every_limit = false;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::UNKNOWN);
}

TEST(EndOfRunTest, ALimitThatWasHitIsTheKillerWhereItHadNoOtherVictim) {
  EndFacts facts = OomKilled();
  facts.oom.limit_hits = 1;
  facts.oom.limit_cgroup = "/slice/box";
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_MEMCG_OOM);
  EXPECT_THAT(ClassifyEnd(facts).message(), HasSubstr("/slice/box"));
  facts.sees_every_limit = false;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_MEMCG_OOM);
  // Another process was killed too: the limit may have been its end, and the machine the runner's.
  facts.oom.machine_kills = 2;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::UNKNOWN);
  facts.oom.kills_under_limit = 1;  // not under that limit
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_MEMCG_OOM);
  facts.oom.kills_under_limit = 2;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::UNKNOWN);
  facts.oom.kills_under_limit.reset();
  facts.oom.machine_kills.reset();
  ExpectOutcome(facts, v1::OOM_KILLED, v1::UNKNOWN);
}

TEST(EndOfRunTest, TheCountOfTheRunnersOwnGroupOutranksWhoeverElseWantedItsEnd) {
  EndFacts facts = OomKilled();
  facts.asked = AskedEnd{v1::CANCELLED, "by a user"};
  facts.killed_by_agent = true;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_GLOBAL_OOM);
  facts.own_group = false;
  ExpectOutcome(facts, v1::CANCELLED, v1::AGENT);
}

TEST(EndOfRunTest, ATerminationIsItsSenders) {
  EndFacts facts = FinishedAs(v1::CANCELLED);
  facts.finished->mutable_terminated_by()->set_pid(812);
  facts.finished->mutable_terminated_by()->set_command("earlyoom");
  ExpectOutcome(facts, v1::OOM_KILLED, v1::USERSPACE_OOM_DAEMON);
  const v1::Outcome outcome = ClassifyEnd(facts);
  EXPECT_THAT(outcome.message(), HasSubstr("earlyoom (pid 812)"));
  EXPECT_EQ(outcome.evidence().signal_sender().pid(), 812);
  EXPECT_EQ(outcome.evidence().signal_sender().command(), "earlyoom");
  facts.asked = AskedEnd{v1::CANCELLED, "by a user, a little later"};
  ExpectOutcome(facts, v1::OOM_KILLED, v1::USERSPACE_OOM_DAEMON);

  facts.finished->mutable_terminated_by()->set_command("bash");
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::UNKNOWN);
  EXPECT_THAT(ClassifyEnd(facts).message(), HasSubstr("bash (pid 812)"));
  facts.finished->mutable_terminated_by()->clear_command();
  EXPECT_THAT(ClassifyEnd(facts).message(), HasSubstr("has ended since (pid 812)"));
  facts.finished->mutable_terminated_by()->set_pid(0);
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::UNKNOWN);
  EXPECT_THAT(ClassifyEnd(facts).message(), HasSubstr("not visible"));
  // It came too late to end anything.
  facts.finished->set_outcome(v1::COMPLETED);
  ExpectOutcome(facts, v1::COMPLETED, v1::KILLER_UNSPECIFIED);
}

TEST(EndOfRunTest, SystemdOomdIsKnownByItsMark) {
  EndFacts facts = Killed();
  facts.oom.oomd_marks = 2;
  facts.oom.oomd_cgroup = "/system.slice/ballast.service/run";
  ExpectOutcome(facts, v1::OOM_KILLED, v1::USERSPACE_OOM_DAEMON);
  EXPECT_THAT(ClassifyEnd(facts).message(), HasSubstr("/system.slice/ballast.service/run"));
  facts.exit.signal = SIGSEGV;
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::SELF);
}

TEST(EndOfRunTest, FindingsSayWhatWasLookedAt) {
  EndFacts facts = OomKilled();
  EXPECT_THAT(DescribeEnd(facts),
              ElementsAre("wait status: signal 9 (Killed)", "kernel log: not readable here",
                          "OOM kills in the last seconds: 1 in the runner's cgroup, 1 on the machine",
                          "cgroup limits: none made the kernel look for a victim", "userspace OOM daemons: none runs"));
  facts.own_group = false;
  facts.sees_every_limit = false;
  facts.oom.machine_kills.reset();
  facts.kernel_log_readable = true;
  facts.kernel_log = OomVerdict::kMemcg;
  facts.oom_daemons = {"earlyoom", "systemd-oomd"};
  facts.note = "the runner had no cgroup";
  EXPECT_THAT(
      DescribeEnd(facts),
      ElementsAre("wait status: signal 9 (Killed)", "kernel log: the runner was killed at a memory cgroup's limit",
                  "OOM kills in the last seconds: 1 in the runner's cgroup (which it shares), an unknown number on the "
                  "machine",
                  "cgroup limits: none that is visible from here made the kernel look for a victim",
                  "userspace OOM daemons: earlyoom, systemd-oomd", "the runner had no cgroup"));
  facts.oom.limit_hits = 3;
  facts.oom.limit_cgroup = "/box";
  facts.oom.oomd_marks = 1;
  facts.oom.oomd_cgroup = "/box/run";
  facts.killed_by_agent = true;
  facts.asked = AskedEnd{v1::CANCELLED, "by a user"};
  facts.finished.emplace().set_message("stopped");
  facts.finished->mutable_terminated_by()->set_pid(5);
  EXPECT_THAT(DescribeEnd(facts),
              IsSupersetOf({"runner: its last word was \"stopped\"",
                            "runner: SIGTERM came from a process that has ended since (pid 5)",
                            "agent: it sent SIGKILL", "agent: it asked for the end: by a user",
                            "cgroup limits: that of /box made the kernel look for a victim, 3 times",
                            "systemd-oomd: it marked /box/run as killed"}));
}

TEST(EndOfRunTest, TheKernelsWordOutranksTheCounts) {
  EndFacts facts = Killed();
  facts.kernel_log = OomVerdict::kMemcg;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_MEMCG_OOM);
  facts.kernel_log = OomVerdict::kGlobal;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_GLOBAL_OOM);
  facts.asked = AskedEnd{v1::CANCELLED, "by a user"};
  facts.killed_by_agent = true;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_GLOBAL_OOM);
}

TEST(EndOfRunTest, ARunnerThatStoppedReportingIsItsOwnFault) {
  EndFacts facts = Killed();
  facts.killed_by_agent = true;
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::SELF);
}

TEST(EndOfRunTest, CrashesAreTheRunnersOwnAndOtherSignalsSomebodys) {
  EndFacts facts;
  facts.exit.signal = SIGSEGV;
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::SELF);
  facts.exit.signal = SIGTERM;  // as userspace OOM daemons send first
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::UNKNOWN);
  facts.exit = {.exit_code = 3, .signal = 0};
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::SELF);
  EXPECT_THAT(ClassifyEnd(facts).message(), HasSubstr("code 3"));
}

EndFacts Program(int exit_code, int signal = 0) {
  EndFacts facts = Killed();
  facts.exit = {.exit_code = exit_code, .signal = signal};
  facts.is_program = true;
  return facts;
}

TEST(EndOfRunTest, AProgramsExitCodeIsAFinding) {
  ExpectOutcome(Program(0), v1::COMPLETED, v1::KILLER_UNSPECIFIED);
  ExpectOutcome(Program(3), v1::COMMAND_FAILED, v1::KILLER_UNSPECIFIED);
  EXPECT_THAT(ClassifyEnd(Program(3)).message(), HasSubstr("code 3"));
  ExpectOutcome(Program(0, SIGSEGV), v1::COMMAND_FAILED, v1::SELF);
  ExpectOutcome(Program(0, SIGKILL), v1::COMMAND_FAILED, v1::UNKNOWN);
  ExpectOutcome(Program(0, SIGHUP), v1::COMMAND_FAILED, v1::UNKNOWN);
}

TEST(EndOfRunTest, AProgramsEndByOthersIsTheirs) {
  EndFacts killed = OomKilled();
  killed.is_program = true;
  ExpectOutcome(killed, v1::OOM_KILLED, v1::KERNEL_GLOBAL_OOM);
  EXPECT_THAT(ClassifyEnd(killed).message(), HasSubstr("the program"));
  EndFacts timed_out = Program(0, SIGTERM);
  timed_out.asked = AskedEnd{v1::TIMED_OUT, "too long"};
  ExpectOutcome(timed_out, v1::TIMED_OUT, v1::AGENT);
  EndFacts graceful = Program(0);
  graceful.asked = AskedEnd{v1::GUARD_STOPPED, "too little was left", v1::GUARD};
  ExpectOutcome(graceful, v1::GUARD_STOPPED, v1::GUARD);
}

}  // namespace
}  // namespace ballast::agent
