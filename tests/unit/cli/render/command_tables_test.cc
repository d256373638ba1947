#include "cli/render/command_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::cli {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

v1::RunReport Report() {
  v1::RunReport report;
  report.mutable_run()->set_run_id("j-1.1");
  v1::RunResult* const result = report.mutable_run()->add_attempts()->mutable_result();
  v1::CommandResult* const failed = result->add_commands();
  failed->set_index(1);
  failed->set_command_id("import");
  failed->mutable_outcome()->set_kind(v1::COMMAND_FAILED);
  failed->mutable_outcome()->set_message("the program exited with code 3");
  failed->mutable_outcome()->mutable_evidence()->set_exit_code(3);
  failed->mutable_start_offset()->set_seconds(1);
  failed->mutable_end_offset()->set_seconds(3);
  failed->set_peak_memory_bytes(100U << 20U);
  failed->set_major_faults(7);
  failed->set_output_tail("one\ntwo\x1b[31m\n");
  failed->set_error_tail("cause\n");
  v1::CommandResult* const completed = result->add_commands();
  completed->set_index(2);
  completed->set_command_id("import");
  completed->mutable_outcome()->set_kind(v1::COMPLETED);
  completed->set_output_tail("fine\n");
  return report;
}

TEST(ExecutionTableTest, ARowAnExecution) {
  const v1::RunReport report = Report();
  const std::string table = ExecutionTable({&report}, std::nullopt);
  EXPECT_THAT(table, AllOf(HasSubstr("COMMAND_FAILED"), HasSubstr("exit 3"), HasSubstr("100 MiB"), HasSubstr("2.0 s")));
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 3);
  const v1::RunReport none;
  EXPECT_EQ(ExecutionTable({&none}, std::nullopt), "");
}

TEST(ExecutionTableTest, AProgramThatDidNotStartHasNoFigures) {
  v1::RunReport report = Report();
  v1::CommandResult* const command = report.mutable_run()->mutable_attempts(0)->mutable_result()->mutable_commands(0);
  // As workers said it that took the runner's own figures for the program's.
  command->mutable_outcome()->set_kind(v1::INVALID);
  command->mutable_outcome()->mutable_evidence()->set_exit_code(0);
  const std::string table = ExecutionTable({&report}, std::nullopt);
  EXPECT_THAT(table, AllOf(HasSubstr("INVALID"), Not(HasSubstr("exit 0")), Not(HasSubstr("100 MiB"))));
  EXPECT_THAT(ExecutionText(*command), Not(HasSubstr("peak")));
}

TEST(FailedOutputTest, ShowsTheEndOfWhatFailedAlone) {
  const std::string text = FailedOutputText(Report().run());
  EXPECT_THAT(text, AllOf(HasSubstr("standard output of execution 1:\n  | one\n  | two?[31m\n"),
                          HasSubstr("standard error of execution 1:\n  | cause\n"), Not(HasSubstr("fine"))));
  EXPECT_EQ(FailedOutputText(v1::Run()), "");
}

TEST(TailLinesTest, TheLastOnes) {
  EXPECT_THAT(TailLines(""), IsEmpty());
  EXPECT_THAT(TailLines("a\nb\nc\n", 2), ElementsAre("b", "c"));
  EXPECT_THAT(TailLines("a\n\nb"), ElementsAre("a", "", "b"));
  EXPECT_THAT(TailLines("alone", 5), ElementsAre("alone"));
}

TEST(SurvivalTextTest, WhereThereWasMoreThanOne) {
  v1::Report report;
  v1::CommandSummary* const summary = report.add_commands();
  summary->set_command_id("import");
  summary->set_execution_count(1);
  EXPECT_EQ(SurvivalText(report), "");
  summary->set_execution_count(3);
  summary->set_survived_count(2);
  v1::OutcomeCount* const count = summary->add_outcomes();
  count->set_outcome(v1::COMPLETED);
  count->set_count(2);
  *report.add_commands() = *summary;
  report.mutable_commands(1)->set_device_id("d-1");
  EXPECT_EQ(SurvivalText(report), "\nimport: 2 of 3 executions survived (2 COMPLETED)\n");
}

}  // namespace
}  // namespace ballast::cli
