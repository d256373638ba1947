#include "common/base/file.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"
#include "tests/unit/cli/fake_coordinator.h"

namespace ballast::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ReportCommandsTest : public CommandTest {
 protected:
  ReportCommandsTest() {
    variables_["BALLAST_COORDINATOR"] = coordinator_.address();
    coordinator_.jobs["j-1"].set_job_id("j-1");
    coordinator_.runs["j-1.1"].set_run_id("j-1.1");
    coordinator_.runs["j-1.1"].set_job_id("j-1");
  }

  FakeCoordinator coordinator_{directory_.path()};
};

TEST_F(ReportCommandsTest, FilesAndATable) {
  const std::filesystem::path directory = directory_.path() / "out";
  ASSERT_EQ(Run({"report", "j-1", "--output-dir", directory.string()}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("j-1.1"));
  EXPECT_EQ(*base::ReadFile(directory / "j-1.json"), "JSON of j-1");
  EXPECT_EQ(*base::ReadFile(directory / "j-1.csv"), "CSV of j-1");
  ASSERT_EQ(Run({"report", "j-1", "j-1.1", "--format", "csv", "--output-dir", directory.string()}), 0);
  EXPECT_TRUE(std::filesystem::exists(directory / "j-1-and-1-more.csv"));
  EXPECT_FALSE(std::filesystem::exists(directory / "j-1-and-1-more.json"));
}

TEST_F(ReportCommandsTest, RunsAreInOrderAndDevicesOfOneNameAreToldApart) {
  for (const auto& [device, name] : std::map<std::string, std::string>{{"d-1", "vm"}, {"d-2", "vm"}, {"d-3", "box"}})
    coordinator_.devices[device].mutable_facts()->set_hostname(name);
  for (const auto& [id, device] :
       std::map<std::string, std::string>{{"j-1.1", "d-2"}, {"j-1.2", "d-1"}, {"j-1.10", "d-3"}, {"j-1.11", "d-3"}}) {
    coordinator_.runs[id].set_run_id(id);
    coordinator_.runs[id].set_job_id("j-1");
    coordinator_.runs[id].set_device_id(device);
  }
  ASSERT_EQ(Run({"report", "j-1", "--output-dir", directory_.path().string()}), 0) << err();
  EXPECT_THAT(out(),
              testing::ContainsRegex("j-1.1 +vm \\(d-2\\) .*\nj-1.2 +vm \\(d-1\\) .*\nj-1.10 +box  .*\nj-1.11 +box  "));
}

TEST_F(ReportCommandsTest, OnStandardOutputAloneNoFileIsWritten) {
  ASSERT_EQ(Run({"report", "j-1", "--output", "json"}), 0);
  EXPECT_EQ(out(), "JSON of j-1");
  EXPECT_EQ(err(), "");
}

TEST_F(ReportCommandsTest, WhatDoesNotExistIsCode4) {
  EXPECT_EQ(Run({"report", "j-2", "--output-dir", directory_.path().string()}), 4);
  EXPECT_THAT(err(), HasSubstr("there is no job j-2"));
  EXPECT_THAT(err(), HasSubstr("  try: ballast jobs list"));
}

TEST_F(ReportCommandsTest, CompareSendsTheGroupsAndPrintsEveryForm) {
  coordinator_.comparison.add_groups()->set_group("j-1");
  coordinator_.comparison.add_groups()->set_group("j-2");
  ASSERT_EQ(Run({"compare", "j-1", "j-2"}), 0) << err();
  EXPECT_THAT(coordinator_.compare_requests[0].item_ids(), ElementsAre("j-1", "j-2"));
  EXPECT_EQ(coordinator_.compare_requests[0].dimension(), v1::CompareRunsRequest::ITEM);
  EXPECT_THAT(out(), HasSubstr("base"));
  ASSERT_EQ(Run({"compare", "j-1", "--by", "device", "--output", "json"}), 0);
  EXPECT_EQ(coordinator_.compare_requests[1].dimension(), v1::CompareRunsRequest::DEVICE);
  EXPECT_THAT(out(), HasSubstr("\"groups\": ["));
  ASSERT_EQ(Run({"compare", "j-1", "j-2", "--output", "csv"}), 0);
  EXPECT_EQ(out(), "figure,group,n,median,change_percent\r\n");
}

TEST_F(ReportCommandsTest, InvalidRunsCountOnlyWhereTheyAreAskedFor) {
  coordinator_.runs["j-1.1"].set_state(v1::Run::ENDED);
  coordinator_.runs["j-1.1"].add_attempts()->mutable_result()->mutable_validity()->set_valid(false);
  ASSERT_EQ(Run({"report", "j-1", "--output-dir", directory_.path().string()}), 0) << err();
  EXPECT_FALSE(coordinator_.report_requests.back().include_invalid());
  EXPECT_THAT(out(), testing::ContainsRegex("OUTCOME +VALID .*\nj-1.1 .* no "));
  ASSERT_EQ(Run({"report", "j-1", "--include-invalid", "--output-dir", directory_.path().string()}), 0) << err();
  EXPECT_TRUE(coordinator_.report_requests.back().include_invalid());
  coordinator_.comparison.add_warnings("run j-1.1 is invalid and left out");
  ASSERT_EQ(Run({"compare", "j-1", "j-2"}), 0);
  EXPECT_FALSE(coordinator_.compare_requests.back().include_invalid());
  EXPECT_EQ(err(), "warning: run j-1.1 is invalid and left out\n");
  ASSERT_EQ(Run({"compare", "j-1", "j-2", "--include-invalid"}), 0);
  EXPECT_TRUE(coordinator_.compare_requests.back().include_invalid());
  coordinator_.jobs["j-1"].set_state(v1::Job::FINISHED);
  (void)Run({"watch", "j-1", "--include-invalid"});
  EXPECT_TRUE(coordinator_.report_requests.back().include_invalid());
}

}  // namespace
}  // namespace ballast::cli
