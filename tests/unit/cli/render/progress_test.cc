#include "cli/render/progress.h"

#include <sstream>

#include "cli/render/text_width.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

v1::JobUpdate JobIn(v1::Job::State state, std::uint32_t ended = 0) {
  v1::JobUpdate update;
  v1::Job& job = *update.mutable_job();
  job.set_job_id("j-1");
  job.set_state(state);
  job.set_run_count(2);
  job.set_ended_run_count(ended);
  job.set_expected_run_count(ended);
  job.mutable_spec()->mutable_workload()->mutable_pressure()->mutable_burst();
  return update;
}

v1::JobUpdate RunIn(int number, v1::Run::State state, v1::OutcomeKind outcome = v1::OUTCOME_KIND_UNSPECIFIED) {
  v1::JobUpdate update;
  v1::Run& run = *update.mutable_run();
  run.set_run_id("j-1." + std::to_string(number));
  run.set_device_id("dev-" + std::to_string(number));
  run.set_state(state);
  if (outcome != v1::OUTCOME_KIND_UNSPECIFIED) run.mutable_outcome()->set_kind(outcome);
  return update;
}

v1::JobUpdate ProgressOf(int number, v1::Phase::Kind phase, double used, double target = 0) {
  v1::JobUpdate update;
  v1::RunProgress& progress = *update.mutable_progress();
  progress.set_run_id("j-1." + std::to_string(number));
  progress.set_phase(phase);
  progress.mutable_elapsed()->set_seconds(65);
  progress.mutable_planned()->set_seconds(120);
  progress.set_held_bytes(1U << 30U);
  progress.set_available_bytes(3ULL << 30U);
  progress.set_used_percent(used);
  progress.set_target_percent(target);
  return update;
}

v1::JobUpdate WaitingJob(v1::Job::State state, v1::WaitReason::Kind kind, const std::string& message,
                         const std::string& device_id = "dev-1") {
  v1::JobUpdate update = JobIn(state);
  v1::WaitReason& reason = *update.mutable_job()->add_wait_reasons();
  reason.set_kind(kind);
  reason.set_device_id(device_id);
  reason.set_message(message);
  reason.set_run_count(2);
  return update;
}

TEST(JobProgressTest, ALineForEachChangeAndNoneForTheRest) {
  JobProgress progress;
  EXPECT_THAT(progress.Apply(JobIn(v1::Job::QUEUED)), ElementsAre("j-1: burst queued, 2 runs"));
  EXPECT_THAT(progress.Apply(RunIn(1, v1::Run::QUEUED)), IsEmpty());
  EXPECT_THAT(progress.Apply(JobIn(v1::Job::RUNNING)), ElementsAre("j-1: running"));
  EXPECT_THAT(progress.Apply(JobIn(v1::Job::RUNNING)), IsEmpty());
  EXPECT_THAT(progress.Apply(RunIn(1, v1::Run::RUNNING)), ElementsAre("j-1.1 on dev-1: running"));
  EXPECT_THAT(progress.Apply(ProgressOf(1, v1::Phase::RAMP, 42, 70)),
              ElementsAre("j-1.1 on dev-1: ramp at 1:05/2:00  used 42.0 % of 70.0 %  held 1 GiB  available 3 GiB"));
  EXPECT_THAT(progress.Apply(ProgressOf(1, v1::Phase::RAMP, 50, 70)), IsEmpty());
  EXPECT_THAT(progress.Apply(ProgressOf(1, v1::Phase::HOLD, 70, 70)), ElementsAre(HasSubstr("hold")));
  EXPECT_THAT(progress.Apply(RunIn(1, v1::Run::ENDED, v1::COMPLETED)), ElementsAre("j-1.1 on dev-1: COMPLETED"));
  EXPECT_THAT(progress.Apply(RunIn(1, v1::Run::ENDED, v1::COMPLETED)), IsEmpty());
  EXPECT_THAT(progress.Apply(ProgressOf(1, v1::Phase::RECOVERY, 10)), IsEmpty()) << "late news of an ended run";
  EXPECT_THAT(progress.Apply(ProgressOf(7, v1::Phase::HOLD, 10)), IsEmpty()) << "a run nobody has spoken of";
  EXPECT_THAT(progress.Apply(JobIn(v1::Job::FINISHED, 2)), ElementsAre("j-1: finished, 2 of 2 runs ended as expected"));
}

TEST(JobProgressTest, AWaitingJobSaysWhatForOnceForEachReason) {
  using Reason = v1::WaitReason;
  JobProgress progress;
  v1::JobUpdate update = WaitingJob(v1::Job::QUEUED, Reason::DEVICE_BUSY, "device dev-1 carries out run j-0.1");
  update.mutable_job()->add_wait_reasons()->set_kind(Reason::JOB_LIMIT);
  EXPECT_THAT(progress.Apply(update), ElementsAre("j-1: burst queued, 2 runs",
                                                  "j-1: waits: 2: device dev-1 carries out run j-0.1 (and 1 more)"));
  EXPECT_THAT(progress.Apply(WaitingJob(v1::Job::QUEUED, Reason::DEVICE_BUSY, "device dev-1 carries out run j-0.2")),
              IsEmpty())
      << "other words for the same";
  EXPECT_THAT(progress.Apply(WaitingJob(v1::Job::QUEUED, Reason::DEVICE_BUSY, "device dev-2 is busy", "dev-2")),
              ElementsAre("j-1: waits: 2: device dev-2 is busy"));
  EXPECT_THAT(progress.Apply(WaitingJob(v1::Job::QUEUED, Reason::DEVICE_DRAINED, "it is \x1b[2Jdrained", "dev-2")),
              ElementsAre("j-1: waits: 2: it is ?[2Jdrained"));
  EXPECT_THAT(progress.Apply(JobIn(v1::Job::QUEUED)), IsEmpty());
  EXPECT_THAT(progress.Apply(WaitingJob(v1::Job::RUNNING, Reason::DEVICE_BUSY, "a moment between two runs")),
              ElementsAre("j-1: running"));
}

TEST(JobProgressTest, OfAnAnswerOnlyWhatTheRunsWaitForCounts) {
  using Reason = v1::WaitReason;
  JobProgress progress;
  (void)progress.Apply(JobIn(v1::Job::RUNNING));
  (void)progress.Apply(RunIn(1, v1::Run::ENDED, v1::COMPLETED));
  EXPECT_FALSE(progress.OnlyWaits());
  (void)progress.Apply(RunIn(2, v1::Run::QUEUED));
  EXPECT_TRUE(progress.OnlyWaits());
  const v1::Job offline = WaitingJob(v1::Job::CANCELLED, Reason::DEVICE_OFFLINE, "device dev-1 is not connected").job();
  EXPECT_THAT(progress.ApplyWaitReasons(offline), ElementsAre("j-1: waits: 2: device dev-1 is not connected"));
  EXPECT_EQ(progress.job().state(), v1::Job::RUNNING);
  EXPECT_THAT(progress.ApplyWaitReasons(offline), IsEmpty());
  EXPECT_THAT(progress.ApplyWaitReasons(JobIn(v1::Job::RUNNING).job()), IsEmpty()) << "it passed";
  EXPECT_THAT(progress.ApplyWaitReasons(offline), ElementsAre(HasSubstr("not connected"))) << "and came back";
  (void)progress.Apply(RunIn(3, v1::Run::ASSIGNED));
  EXPECT_FALSE(progress.OnlyWaits());
  EXPECT_THAT(progress.ApplyWaitReasons(WaitingJob(v1::Job::RUNNING, Reason::DEVICE_BUSY, "a late answer").job()),
              IsEmpty());
}

TEST(JobProgressTest, TargetsThatAreNoPercentages) {
  v1::JobUpdate job = JobIn(v1::Job::RUNNING);
  v1::BurstPattern& burst = *job.mutable_job()->mutable_spec()->mutable_workload()->mutable_pressure()->mutable_burst();
  burst.set_target_bytes(3ULL << 30U);
  JobProgress in_bytes;
  (void)in_bytes.Apply(job);
  (void)in_bytes.Apply(RunIn(1, v1::Run::RUNNING));
  EXPECT_THAT(in_bytes.Apply(ProgressOf(1, v1::Phase::HOLD, 70, 71)), ElementsAre(HasSubstr("used 70.0 % of 3 GiB")));
  burst.mutable_target_psi()->set_percent(20);
  JobProgress stall;
  (void)stall.Apply(job);
  (void)stall.Apply(RunIn(1, v1::Run::RUNNING));
  EXPECT_THAT(stall.Apply(ProgressOf(1, v1::Phase::HOLD, 70)),
              ElementsAre(HasSubstr("used 70.0 % for PSI some 20.0 %")));
  EXPECT_THAT(stall.Apply(ProgressOf(1, v1::Phase::RECOVERY, 20)), ElementsAre(HasSubstr("used 20.0 %  held")));
}

TEST(JobProgressTest, ModelsAreMadeReadyAndLoaded) {
  JobProgress progress;
  (void)progress.Apply(JobIn(v1::Job::RUNNING));
  (void)progress.Apply(RunIn(1, v1::Run::RUNNING));
  v1::JobUpdate update = ProgressOf(1, v1::Phase::PREPARE, 10);
  v1::RunProgress& run = *update.mutable_progress();
  run.clear_planned();
  run.set_quant("Q4_0");
  run.set_prepared_bytes(512U << 20U);
  run.set_prepare_bytes(2ULL << 30U);
  EXPECT_THAT(progress.Apply(update),
              ElementsAre(HasSubstr("prepare at 1:05  Q4_0 is made ready: 512 MiB of 2 GiB  used 10.0 %")));
  run.set_phase(v1::Phase::LOAD);
  run.set_load_index(2);
  run.set_load_count(9);
  run.set_load_resident_bytes(1U << 30U);
  EXPECT_THAT(progress.Apply(update),
              ElementsAre(HasSubstr("load at 1:05  load 2 of 9 at Q4_0 (1 GiB resident)  used 10.0 %")));
  EXPECT_THAT(progress.Apply(update), IsEmpty());
  run.set_load_index(3);
  run.set_load_resident_bytes(0);
  EXPECT_THAT(progress.Apply(update), ElementsAre(HasSubstr("load 3 of 9 at Q4_0  used")));
}

TEST(JobProgressTest, ASoakHasItsCycleAndTheTimeLeft) {
  JobProgress progress;
  (void)progress.Apply(JobIn(v1::Job::RUNNING));
  (void)progress.Apply(RunIn(1, v1::Run::RUNNING));
  v1::JobUpdate update = ProgressOf(1, v1::Phase::HOLD, 10);
  update.mutable_progress()->set_cycle(7);
  EXPECT_THAT(progress.Apply(update), ElementsAre(HasSubstr("hold at 1:05/2:00, 0:55 left  cycle 7  used 10.0 %")));
  update.mutable_progress()->set_phase(v1::Phase::RECOVERY);
  update.mutable_progress()->mutable_elapsed()->set_seconds(130);
  EXPECT_THAT(progress.Apply(update), ElementsAre(HasSubstr("2:10/2:00, 0:00 left")));
}

TEST(JobProgressTest, RunsAreOrderedByNumber) {
  JobProgress progress;
  for (const int number : {10, 2, 1}) (void)progress.Apply(RunIn(number, v1::Run::QUEUED));
  const std::vector<v1::Run> runs = progress.Runs();
  ASSERT_EQ(runs.size(), 3U);
  EXPECT_EQ(runs[0].run_id(), "j-1.1");
  EXPECT_EQ(runs[2].run_id(), "j-1.10");
}

TEST(JobProgressTest, ThePictureHasABarForEachRunningDevice) {
  JobProgress progress;
  EXPECT_THAT(progress.Picture(120, 20), IsEmpty());
  (void)progress.Apply(JobIn(v1::Job::RUNNING));
  (void)progress.Apply(RunIn(1, v1::Run::RUNNING));
  (void)progress.Apply(RunIn(2, v1::Run::ASSIGNED));
  (void)progress.Apply(RunIn(3, v1::Run::QUEUED));
  (void)progress.Apply(ProgressOf(1, v1::Phase::HOLD, 50, 75));
  EXPECT_THAT(
      progress.Picture(120, 20),
      ElementsAre(
          "j-1  burst  0 of 2 runs ended, 1 waiting",
          "dev-1  hold     [##########-----|----] 1:05/2:00  used 50.0 % of 75.0 %  held 1 GiB  available 3 GiB",
          "dev-2  starting"));
  for (const std::string& line : progress.Picture(30, 20)) EXPECT_LE(DisplayWidth(line), 30U);
}

TEST(JobProgressTest, ThePictureFitsTheTerminal) {
  JobProgress progress;
  (void)progress.Apply(JobIn(v1::Job::RUNNING));
  for (int i = 1; i <= 50; ++i) (void)progress.Apply(RunIn(i, v1::Run::RUNNING));
  const std::vector<std::string> lines = progress.Picture(80, 10);
  EXPECT_EQ(lines.size(), 10U);
  EXPECT_EQ(lines.back(), "… and 42 more");
}

TEST(JobProgressTest, ThePictureSaysWhatRunsWaitFor) {
  JobProgress progress;
  (void)progress.Apply(WaitingJob(v1::Job::QUEUED, v1::WaitReason::DEVICE_OFFLINE, "device dev-1 is not connected"));
  EXPECT_THAT(progress.Picture(80, 10), ElementsAre("j-1  burst  0 of 2 runs ended")) << "no run was heard of";
  (void)progress.Apply(RunIn(1, v1::Run::QUEUED));
  (void)progress.Apply(RunIn(2, v1::Run::QUEUED));
  EXPECT_THAT(progress.Picture(80, 10),
              ElementsAre("j-1  burst  0 of 2 runs ended, 2 waiting", "waits: 2: device dev-1 is not connected"));
  EXPECT_THAT(progress.Picture(20, 10), ElementsAre("j-1  burst  0 of 2 …", "waits: 2: device de…"));
  EXPECT_THAT(progress.Picture(80, 1), ElementsAre(HasSubstr("2 waiting")));
  for (int i = 3; i <= 50; ++i) (void)progress.Apply(RunIn(i, v1::Run::RUNNING));
  EXPECT_THAT(progress.Picture(80, 4), ElementsAre(HasSubstr("2 waiting"), "waits: 2: device dev-1 is not connected",
                                                   HasSubstr("dev-3 "), "… and 47 more"));
  EXPECT_THAT(progress.Picture(80, 2), ElementsAre(HasSubstr("2 waiting"), "… and 48 more"));
  EXPECT_THAT(progress.Picture(80, 1), ElementsAre(HasSubstr("2 waiting")));
  // Then the device came, and took the first run.
  (void)progress.Apply(RunIn(1, v1::Run::RUNNING));
  EXPECT_THAT(progress.Picture(80, 3), ElementsAre(HasSubstr("1 waiting"), HasSubstr("dev-1 "), "… and 48 more"));
}

class ProgressPrinterTest : public testing::Test {
 protected:
  std::ostringstream out_;
  FakeClock clock_;
};

TEST_F(ProgressPrinterTest, PlainStreamsGetLinesWithoutControlSequences) {
  {
    ProgressPrinter printer(out_, Terminal{}, clock_);
    printer.Update(JobIn(v1::Job::QUEUED));
    printer.Update(JobIn(v1::Job::RUNNING));
  }
  EXPECT_EQ(out_.str(), "j-1: burst queued, 2 runs\nj-1: running\n");
}

TEST_F(ProgressPrinterTest, ALiveTerminalIsRedrawnInPlaceAndLeftClean) {
  const Terminal terminal{.err_is_live = true, .err_columns = 80, .err_rows = 24};
  {
    ProgressPrinter printer(out_, terminal, clock_);
    printer.Update(JobIn(v1::Job::RUNNING));
    EXPECT_EQ(out_.str(), "j-1  burst  0 of 2 runs ended\n");
    out_.str("");
    printer.Update(RunIn(1, v1::Run::RUNNING));
    EXPECT_EQ(out_.str(), "") << "not more often than ten times a second";
    clock_.elapsed += std::chrono::milliseconds(100);
    printer.Update(ProgressOf(1, v1::Phase::HOLD, 50, 75));
    EXPECT_THAT(out_.str(), testing::StartsWith("\x1b[1A\r\x1b[J"));
    EXPECT_THAT(out_.str(), HasSubstr("dev-1  hold"));
    out_.str("");
    printer.Update(RunIn(1, v1::Run::ENDED, v1::COMPLETED));
    EXPECT_THAT(out_.str(), HasSubstr("\x1b[2A\r\x1b[Jj-1.1 on dev-1: COMPLETED\n")) << "an end stays, at once";
    out_.str("");
  }
  EXPECT_THAT(out_.str(), testing::EndsWith("\x1b[J"));
  EXPECT_THAT(out_.str(), Not(HasSubstr("\n")));
}

TEST_F(ProgressPrinterTest, APictureThatCameTooSoonIsOwed) {
  using std::chrono::milliseconds;
  ProgressPrinter printer(out_, {.err_is_live = true, .err_columns = 80, .err_rows = 24}, clock_);
  printer.Update(JobIn(v1::Job::QUEUED));
  EXPECT_EQ(printer.redraw_due(), std::nullopt);
  clock_.elapsed = milliseconds(40);
  printer.Update(RunIn(1, v1::Run::QUEUED));
  EXPECT_EQ(printer.redraw_due(), milliseconds(100));
  out_.str("");
  printer.DrawOwed();
  EXPECT_EQ(out_.str(), "");
  clock_.elapsed = milliseconds(100);
  printer.DrawOwed();
  EXPECT_THAT(out_.str(), HasSubstr("0 of 2 runs ended, 1 waiting\n"));
  EXPECT_EQ(printer.redraw_due(), std::nullopt);
  out_.str("");
  printer.DrawOwed();
  EXPECT_EQ(out_.str(), "");
  printer.Update(RunIn(2, v1::Run::QUEUED));
  EXPECT_TRUE(printer.redraw_due());
  printer.Note("lost the coordinator");
  EXPECT_EQ(printer.redraw_due(), std::nullopt) << "that drew it";
}

TEST_F(ProgressPrinterTest, WhatIsWaitedForIsDrawnAgainOnlyWhereItChanged) {
  const v1::Job offline =
      WaitingJob(v1::Job::QUEUED, v1::WaitReason::DEVICE_OFFLINE, "device dev-1 is not connected").job();
  {
    ProgressPrinter plain(out_, Terminal{}, clock_);
    plain.Update(JobIn(v1::Job::QUEUED));
    plain.Update(RunIn(1, v1::Run::QUEUED));
    plain.UpdateWaitReasons(offline);
    plain.UpdateWaitReasons(offline);
  }
  EXPECT_EQ(out_.str(), "j-1: burst queued, 2 runs\nj-1: waits: 2: device dev-1 is not connected\n");
  ProgressPrinter printer(out_, {.err_is_live = true, .err_columns = 80, .err_rows = 24}, clock_);
  printer.Update(RunIn(1, v1::Run::QUEUED));
  clock_.elapsed += std::chrono::seconds(1);
  printer.Update(JobIn(v1::Job::QUEUED));
  clock_.elapsed += std::chrono::seconds(1);
  out_.str("");
  printer.UpdateWaitReasons(offline);
  EXPECT_THAT(out_.str(), HasSubstr("1 waiting\nwaits: 2: device dev-1 is not connected\n"));
  clock_.elapsed += std::chrono::seconds(1);
  out_.str("");
  printer.UpdateWaitReasons(offline);
  EXPECT_EQ(out_.str(), "");
}

}  // namespace
}  // namespace ballast::cli
