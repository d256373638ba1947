#include <algorithm>
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

class ComparisonTest : public StoredHistoryTest {
 protected:
  [[nodiscard]] absl::StatusOr<v1::Comparison> Build(
      const std::vector<std::string>& items,
      v1::CompareRunsRequest::Dimension dimension = v1::CompareRunsRequest::ITEM) {
    v1::CompareRunsRequest request;
    request.mutable_item_ids()->Add(items.begin(), items.end());
    request.set_dimension(dimension);
    return BuildComparison(*store_, request, clock_);
  }

  [[nodiscard]] v1::Comparison MustBuild(const std::vector<std::string>& items,
                                         v1::CompareRunsRequest::Dimension dimension = v1::CompareRunsRequest::ITEM) {
    absl::StatusOr<v1::Comparison> comparison = Build(items, dimension);
    EXPECT_TRUE(comparison.ok()) << comparison.status();
    return comparison.ok() ? *std::move(comparison) : v1::Comparison();
  }

  static std::vector<std::string> Groups(const v1::Comparison& comparison) {
    std::vector<std::string> groups;
    for (const v1::GroupSummary& group : comparison.groups()) groups.push_back(group.group());
    return groups;
  }

  static v1::ComparisonRow Row(const v1::Comparison& comparison, const std::string& figure) {
    const auto row = std::ranges::find(comparison.rows(), figure, &v1::ComparisonRow::figure);
    EXPECT_NE(row, comparison.rows().end()) << figure;
    return row == comparison.rows().end() ? v1::ComparisonRow() : *row;
  }
};

TEST_F(ComparisonTest, NeedsTwoDifferentItems) {
  for (const std::vector<std::string>& items : {std::vector<std::string>{}, std::vector<std::string>{kBurstJob},
                                                std::vector<std::string>{kBurstJob, kBurstJob}}) {
    EXPECT_EQ(Build(items).status().code(), absl::StatusCode::kInvalidArgument) << items.size();
  }
}

TEST_F(ComparisonTest, ByDeviceNeedsTwoDevices) {
  const absl::Status status = Build({kBurstJob}, v1::CompareRunsRequest::DEVICE).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("two devices, these are on 1"));
}

TEST_F(ComparisonTest, ByProfileTheDeviceAsItIsComesFirst) {
  const v1::Comparison comparison = MustBuild({kStaircaseJob, kBurstJob}, v1::CompareRunsRequest::PROFILE);
  EXPECT_EQ(comparison.dimension(), "profile");
  EXPECT_THAT(Groups(comparison), ElementsAre("", "极限2GB模式"));
  EXPECT_EQ(comparison.groups(0).title(), "no profile");
  EXPECT_EQ(comparison.groups(0).run_count() + comparison.groups(1).run_count(),
            MustBuild({kStaircaseJob, kBurstJob}).groups(0).run_count() +
                MustBuild({kStaircaseJob, kBurstJob}).groups(1).run_count());
  const absl::Status status = Build({kBurstJob}, v1::CompareRunsRequest::PROFILE).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("two environments, these are in 1"));
}

TEST_F(ComparisonTest, ByProfileAMatrixIsInEachOfItsEnvironments) {
  WriteMatrixJob();
  const v1::Comparison comparison = MustBuild({kMatrixJob}, v1::CompareRunsRequest::PROFILE);
  EXPECT_THAT(Groups(comparison), ElementsAre("", "4gb"));
  EXPECT_EQ(comparison.groups(0).run_count(), 1);
  EXPECT_EQ(comparison.groups(1).run_count(), 1);
}

TEST_F(ComparisonTest, RefusesADimensionItDoesNotKnow) {
  const absl::Status status =
      Build({kBurstJob, kStaircaseJob}, static_cast<v1::CompareRunsRequest::Dimension>(42)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("42"));
}

TEST_F(ComparisonTest, NamesEverythingThatDoesNotExist) {
  const absl::Status status = Build({"j-absent", kBurstJob, "j-0000000002.7"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("no such job: j-absent"), HasSubstr("no such run: j-0000000002.7")));
}

TEST_F(ComparisonTest, PutsItemsSideBySideInTheOrderInWhichTheyWereNamed) {
  const v1::Comparison comparison = MustBuild({kBurstJob, "j-0000000001.1", kStaircaseJob});
  EXPECT_EQ(comparison.schema_version(), kSchemaVersion);
  EXPECT_EQ(base::FromProto(comparison.create_time()), clock_.Now());
  EXPECT_EQ(comparison.dimension(), "item");
  EXPECT_THAT(Groups(comparison), ElementsAre(kBurstJob, "j-0000000001.1", kStaircaseJob));
  EXPECT_EQ(comparison.groups(0).run_count(), 2);
  EXPECT_EQ(comparison.groups(1).run_count(), 1);
  EXPECT_EQ(comparison.groups(2).run_count(), 4);
  EXPECT_EQ(comparison.groups(2).title(), "阶梯, \"100 MiB\"");
  for (const v1::ComparisonRow& row : comparison.rows()) EXPECT_EQ(row.cells_size(), 3) << row.figure();
  EXPECT_TRUE(std::ranges::is_sorted(comparison.rows(), std::ranges::less(), &v1::ComparisonRow::figure));
}

TEST_F(ComparisonTest, TakesAnUnspecifiedDimensionForItems) {
  EXPECT_EQ(MustBuild({kBurstJob, kStaircaseJob}, v1::CompareRunsRequest::DIMENSION_UNSPECIFIED).dimension(), "item");
}

TEST_F(ComparisonTest, TellsTheChangeOfTheMedianAgainstTheBase) {
  // The burst took 8 s; the staircase's two runs with a result 5 s and 2.25 s.
  const v1::ComparisonRow row = Row(MustBuild({kBurstJob, kStaircaseJob}), "duration_seconds");
  EXPECT_EQ(row.direction(), v1::ComparisonRow::DIRECTION_UNSPECIFIED);
  EXPECT_EQ(row.cells(0).n(), 1);
  EXPECT_EQ(row.cells(0).median(), 8);
  EXPECT_FALSE(row.cells(0).has_change_percent());
  EXPECT_EQ(row.cells(1).n(), 2);
  EXPECT_EQ(row.cells(1).median(), 3.625);
  EXPECT_DOUBLE_EQ(row.cells(1).change_percent(), -54.6875);
  EXPECT_FALSE(row.cells(1).has_p_value());
}

TEST_F(ComparisonTest, LeavesTheChangeOutWhereOneSideHasNoFigure) {
  const v1::Comparison comparison = MustBuild({kBurstJob, kStaircaseJob});
  const v1::ComparisonRow only_base = Row(comparison, "time_to_target_seconds");
  EXPECT_EQ(only_base.cells(0).n(), 1);
  EXPECT_EQ(only_base.cells(1).n(), 0);
  EXPECT_FALSE(only_base.cells(1).has_change_percent());
  const v1::ComparisonRow only_other = Row(comparison, "steps_reached_count");
  EXPECT_EQ(only_other.cells(0).n(), 0);
  EXPECT_EQ(only_other.cells(1).n(), 2);
  EXPECT_FALSE(only_other.cells(1).has_change_percent());
  EXPECT_EQ(only_other.direction(), v1::ComparisonRow::HIGHER_IS_BETTER);
}

TEST_F(ComparisonTest, LeavesTheChangeOutWhereTheBaseIsZero) {
  const v1::ComparisonRow row = Row(MustBuild({"j-0000000001.1", "j-0000000001.2"}), "missed_sample_count");
  EXPECT_EQ(row.cells(0).median(), 0);
  EXPECT_EQ(row.cells(1).median(), 1);
  EXPECT_FALSE(row.cells(1).has_change_percent());
}

TEST_F(ComparisonTest, HasNoRowForAFigureThatNoGroupHas) {
  const v1::Comparison comparison = MustBuild({"j-0000000001.1", "j-0000000001.2"});
  EXPECT_EQ(std::ranges::count(comparison.rows(), "hold_seconds", &v1::ComparisonRow::figure), 0);
}

TEST_F(ComparisonTest, GroupsByDeviceOrderedByIdentifier) {
  const v1::Comparison comparison = MustBuild({kStaircaseJob, "j-0000000001.1"}, v1::CompareRunsRequest::DEVICE);
  EXPECT_EQ(comparison.dimension(), "device");
  EXPECT_THAT(Groups(comparison), ElementsAre(kDevice, kRemovedDevice));
  EXPECT_EQ(comparison.groups(0).title(), "pi-4");
  EXPECT_EQ(comparison.groups(0).run_count(), 2);  // the run that was named twice counts once
  EXPECT_EQ(comparison.groups(1).run_count(), 2);
  ASSERT_EQ(comparison.groups(1).outcomes_size(), 2);
  EXPECT_EQ(comparison.groups(1).outcomes(0).outcome(), v1::CANCELLED);
  EXPECT_EQ(comparison.groups(1).outcomes(1).outcome(), v1::DEVICE_LOST);
}

}  // namespace
}  // namespace ballast::report
