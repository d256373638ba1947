#include "worker/agent/end_of_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

namespace ballast::agent {
namespace {

using testing::HasSubstr;

EndFacts Killed() {
  EndFacts facts;
  facts.exit.signal = SIGKILL;
  facts.recent_machine_oom_kills = 0;
  facts.recent_cgroup_oom_kills = 0;
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

TEST(EndOfRunTest, AKillThatNobodyCountsIsSomebodys) {
  ExpectOutcome(Killed(), v1::WORKER_CRASHED, v1::UNKNOWN);
  EXPECT_THAT(ClassifyEnd(Killed()).message(), HasSubstr("SIGKILL"));
}

TEST(EndOfRunTest, OomKillsOfOthersAreNotTheRunners) {
  EndFacts facts = Killed();
  facts.recent_machine_oom_kills = 1;
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::UNKNOWN);
}

TEST(EndOfRunTest, TheCountsAreNotTheRunnersWhereTheLogNamesAnotherVictim) {
  EndFacts facts = Killed();
  facts.recent_machine_oom_kills = 1;
  facts.recent_cgroup_oom_kills = 1;
  facts.kernel_log = OomVerdict::kOther;
  ExpectOutcome(facts, v1::WORKER_CRASHED, v1::UNKNOWN);
}

TEST(EndOfRunTest, WithoutCgroupsTheMachinesCountDecides) {
  EndFacts facts = Killed();
  facts.recent_cgroup_oom_kills.reset();
  facts.recent_machine_oom_kills = 1;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_GLOBAL_OOM);
}

TEST(EndOfRunTest, TheCgroupsCountMeansTheMachineWhereNoCgroupHasALimit) {
  EndFacts facts = Killed();
  facts.recent_machine_oom_kills = 1;
  facts.recent_cgroup_oom_kills = 1;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_GLOBAL_OOM);
}

TEST(EndOfRunTest, WhereACgroupHasALimitTheOneThatRanOutKilled) {
  EndFacts facts = Killed();
  facts.recent_machine_oom_kills = 1;
  facts.recent_cgroup_oom_kills = 1;
  facts.limit_is_machine = false;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::UNKNOWN);
  facts.limit_available_bytes = 10;
  facts.machine_available_bytes = 1000;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_MEMCG_OOM);
  facts.limit_available_bytes = 1000;
  facts.machine_available_bytes = 10;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_GLOBAL_OOM);
  facts.limit_available_bytes = 12;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::UNKNOWN);
}

TEST(EndOfRunTest, TheKernelsWordOutranksTheCounts) {
  EndFacts facts = Killed();
  facts.kernel_log = OomVerdict::kMemcg;
  ExpectOutcome(facts, v1::OOM_KILLED, v1::KERNEL_MEMCG_OOM);
  facts.kernel_log = OomVerdict::kGlobal;
  facts.limit_is_machine = false;
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

}  // namespace
}  // namespace ballast::agent
