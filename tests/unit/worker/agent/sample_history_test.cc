#include "worker/agent/sample_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace ballast::agent {
namespace {

using metrics::IndexOf;
using metrics::MetricId;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AnyOf;
using testing::Contains;
using testing::ElementsAre;
using testing::IsSupersetOf;
using testing::Not;

metrics::SampleRow Row(std::int64_t oom_kills) {
  metrics::SampleRow row = metrics::EmptyRow();
  row[IndexOf(MetricId::kVmOomKillTotal)] = oom_kills;
  return row;
}

TEST(SampleHistoryTest, KeepsTheYoungestSpan) {
  SampleHistory history(seconds(1), milliseconds(500));
  for (int i = 0; i < 7; ++i) history.Add(milliseconds(500 * i), Row(i));
  EXPECT_EQ(history.size(), 3U);
  EXPECT_EQ(history[0].offset, milliseconds(2000));
  EXPECT_EQ(history.LastOf(MetricId::kVmOomKillTotal), 6);
  EXPECT_EQ(history.RiseOf(MetricId::kVmOomKillTotal), 2U);
  EXPECT_THAT(history.ToSeries().offset_ms(), ElementsAre(2000, 2500, 3000));
}

TEST(SampleHistoryTest, LateSamplesDoNotStretchTheSpan) {
  SampleHistory history(seconds(1), milliseconds(100));
  history.Add(milliseconds(0), Row(0));
  history.Add(milliseconds(100), Row(1));
  history.Add(milliseconds(1050), Row(2));  // the agent was not scheduled for a while
  EXPECT_THAT(history.ToSeries().offset_ms(), ElementsAre(100, 1050));
}

TEST(SampleHistoryTest, ValuesAreInTheirUnitAndGapsAreNoNumber) {
  SampleHistory history(seconds(10), milliseconds(100));
  metrics::SampleRow row = metrics::EmptyRow();
  row[IndexOf(MetricId::kPsiMemorySomeAvg10)] = 1234;
  history.Add(milliseconds(0), row);
  history.Add(milliseconds(100), metrics::EmptyRow());
  const v1::SampleSeries series = history.ToSeries();
  ASSERT_EQ(series.columns_size(), 1);
  EXPECT_EQ(series.columns(0).metric(), "psi_memory_some_avg10");
  EXPECT_DOUBLE_EQ(series.columns(0).values(0), 12.34);
  EXPECT_TRUE(std::isnan(series.columns(0).values(1)));
  EXPECT_EQ(history.LastOf(MetricId::kPsiMemorySomeAvg10), 1234);
  EXPECT_EQ(history.LastOf(MetricId::kVmOomKillTotal), metrics::kAbsent);
  EXPECT_EQ(history.RiseOf(MetricId::kVmOomKillTotal), 0U);
}

TEST(SampleHistoryTest, EvidenceHasOnlyTheMetricsThatExplainAnEnd) {
  SampleHistory history(seconds(10), milliseconds(100));
  metrics::SampleRow row;
  row.fill(1);
  history.Add(milliseconds(0), row);
  const v1::SampleSeries series = history.ToSeries();
  std::vector<std::string> names;
  for (const v1::SampleColumn& column : series.columns()) names.push_back(column.metric());
  EXPECT_THAT(names, IsSupersetOf({"mem_used_percent", "psi_memory_full_avg10", "vm_oom_kill_total",
                                   "runner_held_bytes", "cgroup_oom_kill_total"}));
  EXPECT_THAT(names, Not(AnyOf(Contains("runner_threads_count"), Contains("load_avg1"), Contains("agent_rss_bytes"))));
  EXPECT_LT(static_cast<std::size_t>(series.columns_size()), metrics::kMetricCount / 2);
}

TEST(SampleHistoryTest, HasABoundForEveryInterval) {
  SampleHistory history(seconds(10), std::chrono::nanoseconds(1));
  for (int i = 0; i < 5000; ++i) history.Add(milliseconds(i), Row(i));
  EXPECT_EQ(history.size(), 1024U);
  EXPECT_EQ(SampleHistory(seconds(10), seconds(60)).ToSeries().offset_ms_size(), 0);
}

}  // namespace
}  // namespace ballast::agent
