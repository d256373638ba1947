// Runs that are not valid: in the statistics only where they are asked for, and named in any case.
#include "coordinator/report/invalid_runs.h"

#include <string>
#include <vector>

#include "coordinator/report/report.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "stored_history.h"

namespace ballast::report {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kFirst[] = "j-0000000001.1";

class InvalidRunsTest : public StoredHistoryTest {
 protected:
  // Says of a stored run's last attempt what disqualifies it.
  void MakeInvalid(const std::string& run_id, const std::string& message, double threshold) {
    absl::StatusOr<v1::Run> run = store_->GetRun(run_id);
    ASSERT_TRUE(run.ok()) << run.status();
    v1::Validity* validity = run->mutable_attempts(run->attempts_size() - 1)->mutable_result()->mutable_validity();
    validity->set_valid(false);
    v1::ValidityRemark* remark = validity->add_remarks();
    remark->set_message(message);
    remark->set_threshold(threshold);
    remark->set_disqualifies(true);
    validity->add_remarks()->set_message("the governor is schedutil");
    Write({storage::PutRun{.run = *run}});
  }

  v1::Report Build(bool include_invalid) {
    v1::GetReportRequest scope;
    scope.add_job_ids(kStaircaseJob);
    scope.set_include_invalid(include_invalid);
    absl::StatusOr<v1::Report> report = BuildReport(*store_, scope, ReportOptions(), clock_);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : v1::Report();
  }

  static std::uint32_t CountOf(const v1::GroupSummary& group, const std::string& figure) {
    for (const v1::FigureStatistics& statistics : group.figures()) {
      if (statistics.name() == figure) return statistics.n();
    }
    return 0;
  }
};

TEST_F(InvalidRunsTest, AreListedAndLeftOutOfTheStatistics) {
  const v1::Report before = Build(false);
  MakeInvalid(kFirst, "other processes used 31.0 % of the processors", 25);
  const v1::Report report = Build(false);
  EXPECT_EQ(report.runs_size(), before.runs_size());
  EXPECT_EQ(report.overall().invalid_run_count(), 1);
  EXPECT_EQ(report.overall().run_count(), before.overall().run_count());
  EXPECT_EQ(CountOf(report.overall(), "duration_seconds") + 1, CountOf(before.overall(), "duration_seconds"));
  ASSERT_EQ(report.warnings_size(), before.warnings_size() + 1);
  EXPECT_EQ(report.warnings(report.warnings_size() - 1),
            "run j-0000000001.1 is invalid and left out of the statistics: other processes used 31.0 % of the "
            "processors (more than 25 %)");
}

TEST_F(InvalidRunsTest, CountWhereTheyAreAskedForAndAreNamedAllTheSame) {
  const v1::Report before = Build(false);
  MakeInvalid(kFirst, "the device slept for 5.0 s", 0);
  const v1::Report report = Build(true);
  EXPECT_EQ(report.overall().invalid_run_count(), 0);
  EXPECT_EQ(CountOf(report.overall(), "duration_seconds"), CountOf(before.overall(), "duration_seconds"));
  EXPECT_EQ(report.warnings(report.warnings_size() - 1),
            "run j-0000000001.1 is invalid and counts all the same: the device slept for 5.0 s");
}

TEST_F(InvalidRunsTest, ADeviceOfWhichNothingIsLeftIsExplained) {
  for (const std::string id : {"j-0000000001.1", "j-0000000001.2"}) MakeInvalid(id, "too hot", 0);
  const v1::Report report = Build(false);
  EXPECT_THAT(report.warnings(), testing::Contains(AllOf(HasSubstr("every run of device d-000000000a"),
                                                         HasSubstr("--include-invalid"), HasSubstr("--settle"))));
  EXPECT_THAT(report.by_device(0).figures(), IsEmpty());
}

TEST_F(InvalidRunsTest, AreLeftOutOfComparisonsToo) {
  MakeInvalid(kFirst, "too hot", 0);
  v1::CompareRunsRequest request;
  request.add_item_ids(kFirst);
  request.add_item_ids(kBurstJob);
  absl::StatusOr<v1::Comparison> comparison = BuildComparison(*store_, request, clock_);
  ASSERT_TRUE(comparison.ok()) << comparison.status();
  EXPECT_EQ(comparison->groups(0).invalid_run_count(), 1);
  EXPECT_THAT(comparison->groups(0).figures(), IsEmpty());
  EXPECT_THAT(comparison->warnings(), ElementsAre(HasSubstr("every run of j-0000000001.1"),
                                                  HasSubstr("run j-0000000001.1 is invalid and left out")));
  request.set_include_invalid(true);
  comparison = BuildComparison(*store_, request, clock_);
  ASSERT_TRUE(comparison.ok()) << comparison.status();
  EXPECT_FALSE(comparison->groups(0).figures().empty());
}

TEST_F(InvalidRunsTest, AreToldInTheCsv) {
  MakeInvalid(kFirst, "other processes used 31.0 % of the processors", 25);
  const std::string csv = ReportToCsv(Build(false));
  EXPECT_THAT(csv, HasSubstr(",annotations,valid,invalid_reasons,"));
  EXPECT_THAT(csv, HasSubstr(",false,other processes used 31.0 % of the processors (more than 25 %),"));
}

TEST(InvalidRuns, ARunThatSaysNothingOrGoesOnIsNotInvalid) {
  v1::Run run;
  run.set_state(v1::Run::ENDED);
  EXPECT_FALSE(IsInvalid(run));
  v1::RunResult* result = run.add_attempts()->mutable_result();
  EXPECT_FALSE(IsInvalid(run)) << "an older worker does not judge";
  result->mutable_validity()->set_valid(false);
  EXPECT_TRUE(IsInvalid(run));
  run.set_state(v1::Run::RUNNING);
  EXPECT_FALSE(IsInvalid(run));
}

TEST(InvalidRuns, NamesAHundredAndCountsTheRest) {
  InvalidRuns invalid(/*include=*/false);
  v1::Run run;
  run.set_state(v1::Run::ENDED);
  run.add_attempts()->mutable_result()->mutable_validity()->set_valid(false);
  for (int i = 0; i < 130; ++i) EXPECT_TRUE(invalid.LeavesOut(run));
  const std::vector<std::string> warnings = invalid.Warnings();
  ASSERT_EQ(warnings.size(), 101U);
  EXPECT_EQ(warnings.back(), "30 more runs are invalid");
}

}  // namespace
}  // namespace ballast::report
