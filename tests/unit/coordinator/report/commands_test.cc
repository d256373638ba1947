#include "coordinator/report/commands.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "message_text.h"

namespace ballast::report {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Key;
using testing::Not;
using testing::Pair;

constexpr char kWhole[] = R"pb(
  index: 1
  command_id: "import"
  argv: "/bin/import"
  argv: "--batch=1"
  outcome { kind: COMPLETED }
  start_offset { seconds: 10 }
  end_offset { seconds: 12 nanos: 500000000 }
  scope: CGROUP
  peak_memory_bytes: 6000
  peak_resident_bytes: 5000
  peak_anon_bytes: 4000
  peak_file_bytes: 1000
  minor_faults: 70
  major_faults: 3
  disk_read_bytes: 8192
  refault_bytes: 4096
  user_cpu_time { seconds: 1 }
  system_cpu_time { nanos: 250000000 }
  stall_some_time { nanos: 500000000 }
  output_bytes: 10
  error_bytes: 5
)pb";

std::map<std::string, double> FiguresOf(const std::string& text) {
  std::map<std::string, double> figures;
  for (const v1::Figure& figure : ComputeCommandFigures(Parse<v1::CommandResult>(text))) {
    figures[figure.name()] = figure.value();
  }
  return figures;
}

TEST(CommandFigures, OfAWholeExecution) {
  EXPECT_THAT(FiguresOf(kWhole),
              ElementsAre(Pair("cpu_seconds", 1.25), Pair("disk_read_bytes", 8192), Pair("disk_write_bytes", 0),
                          Pair("execution_seconds", 2.5), Pair("major_fault_count", 3), Pair("minor_fault_count", 70),
                          Pair("output_bytes", 15), Pair("peak_anon_bytes", 4000), Pair("peak_file_bytes", 1000),
                          Pair("peak_memory_bytes", 6000), Pair("peak_resident_bytes", 5000),
                          Pair("peak_swap_bytes", 0), Pair("refault_bytes", 4096), Pair("stall_some_seconds", 0.5)));
}

TEST(CommandFigures, NothingIsKnownOfWhatDidNotStart) {
  EXPECT_THAT(FiguresOf("outcome { kind: INVALID } start_offset {} end_offset { seconds: 1 }"), IsEmpty());
  // Older workers took the runner's own figures for its.
  EXPECT_THAT(FiguresOf("outcome { kind: INVALID } start_offset {} end_offset { seconds: 1 } peak_memory_bytes: 100 "
                        "peak_resident_bytes: 100 peak_anon_bytes: 10 peak_file_bytes: 1 minor_faults: 5"),
              IsEmpty());
  EXPECT_THAT(FiguresOf("scope: PROCESS_GROUP peak_memory_bytes: 5"), Not(Contains(Key("refault_bytes"))));
}

v1::Run RunOn(const std::string& device_id, const std::vector<v1::OutcomeKind>& outcomes) {
  v1::Run run;
  run.set_device_id(device_id);
  run.set_state(v1::Run::ENDED);
  v1::RunResult* const result = run.add_attempts()->mutable_result();
  for (const v1::OutcomeKind outcome : outcomes) {
    v1::CommandResult* const command = result->add_commands();
    *command = Parse<v1::CommandResult>(kWhole);
    command->mutable_outcome()->set_kind(outcome);
  }
  return run;
}

TEST(CommandExecutions, SurvivalIsKOfNOverAllDevicesAndOnEach) {
  v1::Job job;
  job.mutable_spec()->mutable_workload()->mutable_command()->set_command_id("import");
  CommandExecutions executions;
  executions.Add(RunOn("a", {v1::COMPLETED, v1::OOM_KILLED, v1::CANCELLED}), job);
  executions.Add(RunOn("b", {v1::COMPLETED}), job);
  const std::vector<v1::CommandSummary> summaries = executions.Summarize();
  ASSERT_EQ(summaries.size(), 3U);
  EXPECT_EQ(summaries[0].device_id(), "");
  EXPECT_EQ(summaries[0].execution_count(), 3U);
  EXPECT_EQ(summaries[0].survived_count(), 2U);
  EXPECT_THAT(summaries[0].argv(), ElementsAre("/bin/import", "--batch=1"));
  ASSERT_GT(summaries[0].figures_size(), 0);
  EXPECT_EQ(summaries[0].figures(0).name(), "cpu_seconds");
  EXPECT_EQ(summaries[0].figures(0).n(), 2U);
  EXPECT_EQ(summaries[0].unsurvived_figures(0).n(), 1U);
  EXPECT_EQ(summaries[1].device_id(), "a");
  EXPECT_EQ(summaries[1].execution_count(), 2U);
  EXPECT_EQ(summaries[1].survived_count(), 1U);
  EXPECT_EQ(summaries[2].device_id(), "b");
}

TEST(CommandExecutions, OtherConditionsStandApart) {
  v1::Job job;
  CommandExecutions executions;
  executions.Add(RunOn("a", {v1::COMPLETED}), job);
  job.mutable_spec()->set_environment("2gb-noswap");
  executions.Add(RunOn("a", {v1::COMPLETED}), job);
  job.mutable_spec()->mutable_workload()->mutable_command()->mutable_pressure()->mutable_burst();
  executions.Add(RunOn("a", {v1::COMPLETED}), job);
  executions.Add(RunOn("a", {v1::OUTCOME_KIND_UNSPECIFIED}), job);
  v1::Run going_on = RunOn("a", {v1::COMPLETED});
  going_on.set_state(v1::Run::RUNNING);
  executions.Add(going_on, job);
  const std::vector<v1::CommandSummary> summaries = executions.Summarize();
  ASSERT_EQ(summaries.size(), 6U);
  EXPECT_EQ(summaries[2].environment(), "2gb-noswap");
  EXPECT_TRUE(summaries[4].has_pressure());
  EXPECT_EQ(summaries[4].execution_count(), 1U);
}

}  // namespace
}  // namespace ballast::report
