// simple, submit and watch against a fleet's coordinator: what they send, print, write and return.
#include <unistd.h>

#include <fstream>
#include <future>

#include "common/base/file.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"
#include "tests/unit/cli/fake_coordinator.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class SubmissionTest : public CommandTest {
 protected:
  SubmissionTest() { variables_["BALLAST_COORDINATOR"] = coordinator_.address(); }

  FakeCoordinator coordinator_{directory_.path()};
};

TEST_F(SubmissionTest, TheOutcomeDecidesTheExitCode) {
  EXPECT_EQ(Run({"simple", "--mode", "burst"}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("j-1.2"));
  coordinator_.outcome = v1::OOM_KILLED;
  EXPECT_EQ(Run({"simple", "--mode", "burst"}), 1);
  EXPECT_EQ(Run({"simple", "--mode", "burst", "--expect", "OOM_KILLED"}), 0);
  EXPECT_EQ(Run({"watch", "j-2"}), 1);
  coordinator_.outcome = v1::ENVIRONMENT_REFUSED;
  EXPECT_EQ(Run({"simple", "--mode", "burst"}), 6);
}

TEST_F(SubmissionTest, ARefusedSubmissionIsExplained) {
  coordinator_.submit_status = absl::NotFoundError("no device has the label class=c");
  EXPECT_EQ(Run({"simple", "--mode", "burst", "--on", "class=c"}), 4);
  EXPECT_EQ(err(), "error: no device has the label class=c\n  try: ballast devices list\n");
  coordinator_.submit_status = absl::FailedPreconditionError("no selected device can do it");
  EXPECT_EQ(Run({"simple", "--mode", "burst"}), 6);
  coordinator_.submit_status = absl::FailedPreconditionError(
      "the job cannot run: device d-1 is drained (ballast devices resume d-1); device d-2 does not have the command");
  EXPECT_EQ(Run({"simple", "--mode", "burst"}), 6);
  EXPECT_THAT(err(), HasSubstr("\n  try: ballast devices resume d-1\n"));
  coordinator_.submit_status =
      absl::FailedPreconditionError("there are 2 devices and the job does not say which: a, b");
  for (const auto& command : {std::vector<std::string>{"exec", "import"}, {"simple", "--mode", "burst"}}) {
    EXPECT_EQ(Run(command), 6);
    EXPECT_THAT(err(), HasSubstr("  try: choose with --device ID, --on LABEL=VALUE or --all\n"));
  }
}

TEST_F(SubmissionTest, ACoordinatorThatCannotAtTheMomentIsNotTakenForOneThatIsNotThere) {
  coordinator_.submit_status = absl::UnavailableError("the coordinator cannot store anything: the disk is full");
  EXPECT_EQ(Run({"simple", "--mode", "burst"}), 3);
  EXPECT_THAT(err(), HasSubstr("coordinator at " + coordinator_.address() +
                               ": the coordinator cannot store anything: the disk is full\n  try: do what the message "
                               "says, then run the command again; lists"));
  coordinator_.Stop();
  EXPECT_EQ(Run({"simple", "--mode", "burst"}), 3);
  EXPECT_THAT(err(), HasSubstr("\n  try: check that ballast-coordinator runs there"));
}

TEST_F(SubmissionTest, EverySubmissionHasItsOwnRequestIdAndTheUser) {
  variables_["USER"] = "ada";
  EXPECT_EQ(Run({"simple", "--mode", "burst"}), 0);
  EXPECT_EQ(Run({"simple", "--mode", "burst"}), 0);
  variables_.erase("USER");
  EXPECT_EQ(Run({"simple", "--mode", "burst"}), 0);
  ASSERT_EQ(coordinator_.submitted.size(), 3U);
  EXPECT_EQ(coordinator_.submitted[0].submitter(), "ada");
  EXPECT_EQ(coordinator_.submitted[2].submitter(), AccountName(::geteuid()));
  EXPECT_THAT(coordinator_.submitted[0].request_id(), testing::StartsWith("cli-"));
  EXPECT_NE(coordinator_.submitted[0].request_id(), coordinator_.submitted[1].request_id());
  EXPECT_THAT(coordinator_.submitted[0].spec().devices().device_ids(), IsEmpty()) << "a fleet's coordinator chooses";
}

TEST_F(SubmissionTest, StandardOutputCarriesOnlyTheReportThatWasAskedFor) {
  EXPECT_EQ(Run({"simple", "--mode", "burst", "--output", "json"}), 0);
  EXPECT_EQ(out(), "JSON of j-1");
  EXPECT_EQ(Run({"watch", "j-1", "--output", "csv"}), 0);
  EXPECT_EQ(out(), "CSV of j-1");
}

TEST_F(SubmissionTest, ReportsAreWrittenWhereTheFlagSays) {
  const std::filesystem::path directory = directory_.path() / "deep" / "reports";
  EXPECT_EQ(Run({"simple", "--mode", "burst", "--output-dir", directory.string()}), 0) << err();
  EXPECT_EQ(*base::ReadFile(directory / "j-1.json"), "JSON of j-1");
  EXPECT_EQ(*base::ReadFile(directory / "j-1.csv"), "CSV of j-1");
  EXPECT_THAT(err(), HasSubstr("report: " + (directory / "j-1.json").string()));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory), {}), 2) << "no temporary file is left";
}

TEST_F(SubmissionTest, ADirectoryThatCannotBeWrittenStopsTheJobBeforeItStarts) {
  std::ofstream(directory_.path() / "file") << "";
  EXPECT_EQ(Run({"simple", "--mode", "burst", "--output-dir", (directory_.path() / "file" / "below").string()}), 1);
  EXPECT_THAT(err(), HasSubstr("--output-dir"));
  EXPECT_THAT(coordinator_.submitted, IsEmpty());
}

TEST_F(SubmissionTest, DetachLeavesTheJob) {
  coordinator_.hold_jobs = true;
  EXPECT_EQ(Run({"simple", "--mode", "burst", "--detach"}), 0) << err();
  EXPECT_EQ(out(), "j-1\n");
  EXPECT_THAT(err(), HasSubstr("ballast watch j-1"));
  EXPECT_EQ(Run({"simple", "--mode", "burst", "--detach", "--output", "json"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"job_id\": \"j-2\""));
}

TEST_F(SubmissionTest, AJobFileIsSubmittedWithWhatIsSet) {
  const std::filesystem::path file = directory_.path() / "job.yaml";
  std::ofstream(file) << "workload: {pressure: {burst: {target_percent: 60%}}}\n";
  EXPECT_EQ(Run({"submit", file.string(), "--set", "workload.pressure.burst.target_percent=65", "--set",
                 "annotations.build=7"}),
            0)
      << err();
  ASSERT_EQ(coordinator_.submitted.size(), 1U);
  EXPECT_EQ(coordinator_.submitted[0].spec().workload().pressure().burst().target_percent(), 65);
  EXPECT_EQ(coordinator_.submitted[0].spec().annotations().at("build"), "7");
}

TEST_F(SubmissionTest, WatchingAnUnknownJobIsCode4) {
  EXPECT_EQ(Run({"watch", "j-9"}), 4);
  EXPECT_EQ(err(), "error: there is no job j-9\n  try: ballast jobs list\n");
}

TEST_F(SubmissionTest, LocalModeCancelsEveryJobThatWasLeftUnfinished) {
  UseLocalMode(coordinator_.address());
  coordinator_.devices["d-1"].set_device_id("d-1");
  coordinator_.devices["d-1"].set_state(v1::Device::READY);
  coordinator_.hold_jobs = true;
  coordinator_.largest_page = 2;
  for (int i = 0; i < 5; ++i) {
    v1::SubmitJobRequest request;
    v1::Job job;
    coordinator_.SubmitJob(nullptr, &request, &job);
  }
  coordinator_.hold_jobs = false;
  ASSERT_EQ(Run({"simple", "--mode", "burst"}), 0) << err();
  for (const std::string job : {"j-1", "j-2", "j-3", "j-4", "j-5"}) {
    EXPECT_THAT(err(), HasSubstr("cancelled job " + job + ","));
    EXPECT_EQ(coordinator_.jobs[job].state(), v1::Job::CANCELLED);
  }
  EXPECT_THAT(coordinator_.submitted.back().spec().devices().device_ids(), testing::ElementsAre("d-1"));
}

TEST_F(SubmissionTest, AnInterruptLeavesAFleetsJobRunningAndSaysHowToGoOn) {
  coordinator_.hold_jobs = true;
  auto running = std::async(std::launch::async, [this] { return Run({"simple", "--mode", "burst"}); });
  coordinator_.AwaitWatcher();
  interrupts_.Raise();
  EXPECT_EQ(running.get(), 130);
  EXPECT_THAT(err(), HasSubstr("ballast watch j-1"));
  EXPECT_THAT(err(), HasSubstr("ballast jobs cancel j-1"));
  EXPECT_EQ(out(), "");
  EXPECT_EQ(coordinator_.jobs["j-1"].state(), v1::Job::RUNNING);
}

}  // namespace
}  // namespace ballast::cli
