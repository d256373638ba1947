#include "common/metrics/metric_table.h"

#include <gtest/gtest.h>

namespace ballast::metrics {
namespace {

TEST(MetricTableTest, FindsEveryMetricByIdAndByName) {
  ASSERT_EQ(AllMetrics().size(), kMetricCount);
  for (const Metric& metric : AllMetrics()) {
    EXPECT_EQ(FindMetric(metric.id), &metric);
    EXPECT_EQ(FindMetric(metric.name), &metric);
  }
}

TEST(MetricTableTest, FindsNothingElse) {
  EXPECT_EQ(FindMetric(0U), nullptr);
  EXPECT_EQ(FindMetric(static_cast<std::uint32_t>(kMetricCount + 1)), nullptr);
  EXPECT_EQ(FindMetric(UINT32_MAX), nullptr);
  EXPECT_EQ(FindMetric("mem_available"), nullptr);
  EXPECT_EQ(FindMetric(""), nullptr);
}

// Chunks that are stored somewhere name metrics by these numbers.
TEST(MetricTableTest, IdentifiersThatChunksHaveUsedKeepTheirMeaning) {
  EXPECT_EQ(FindMetric(1U)->name, "mem_used_percent");
  EXPECT_EQ(FindMetric(6U)->name, "mem_available_bytes");
  EXPECT_EQ(FindMetric(18U)->name, "vm_pgmajfault_total");
  EXPECT_EQ(FindMetric(28U)->name, "psi_memory_some_avg10");
  EXPECT_EQ(FindMetric(35U)->name, "runner_resident_bytes");
  EXPECT_EQ(FindMetric(46U)->name, "runner_held_bytes");
  EXPECT_EQ(FindMetric(52U)->name, "sample_delay_us");
}

TEST(MetricTableTest, MetricIdLeadsToItsPlaceInARow) {
  SampleRow row = EmptyRow();
  for (const std::int64_t value : row) EXPECT_EQ(value, kAbsent);
  row[IndexOf(MetricId::kLoadCgroupSwapBytes)] = 7;
  EXPECT_EQ(row.back(), 7);
  EXPECT_EQ(AllMetrics()[IndexOf(MetricId::kMemAvailableBytes)].name, "mem_available_bytes");
}

}  // namespace
}  // namespace ballast::metrics
