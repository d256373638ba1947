#include "coordinator/report/sample_thinner.h"

#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::report {
namespace {

using metrics::IndexOf;
using metrics::MetricId;
using std::chrono::microseconds;
using testing::ElementsAre;

// A series of `count` samples, a millisecond apart, whose load average is the sample's number.
v1::SampleSeries Thin(std::uint32_t max_samples, int count) {
  SampleThinner thinner(max_samples);
  for (int i = 0; i < count; ++i) {
    metrics::SampleRow row = metrics::EmptyRow();
    row[IndexOf(MetricId::kLoadAvg1)] = i * 100;
    thinner.Add(microseconds(i * 1000), row);
  }
  return thinner.Finish();
}

TEST(SampleThinner, OfNoSamplesIsEmpty) {
  const v1::SampleSeries series = Thin(10, 0);
  EXPECT_EQ(series.offset_ms_size(), 0);
  EXPECT_EQ(series.columns_size(), 0);
  EXPECT_EQ(series.stride(), 1);
}

TEST(SampleThinner, KeepsAllThatFit) {
  const v1::SampleSeries series = Thin(5, 5);
  EXPECT_EQ(series.stride(), 1);
  EXPECT_THAT(series.offset_ms(), ElementsAre(0, 1, 2, 3, 4));
}

TEST(SampleThinner, KeepsEveryStridethAndTheLast) {
  v1::SampleSeries series = Thin(5, 6);
  EXPECT_EQ(series.stride(), 2);
  EXPECT_THAT(series.offset_ms(), ElementsAre(0, 2, 4, 5));
  series = Thin(5, 9);
  EXPECT_EQ(series.stride(), 2);
  EXPECT_THAT(series.offset_ms(), ElementsAre(0, 2, 4, 6, 8));
  ASSERT_EQ(series.columns_size(), 1);
  EXPECT_EQ(series.columns(0).metric(), "load_avg1");
  EXPECT_THAT(series.columns(0).values(), ElementsAre(0, 2, 4, 6, 8));
}

TEST(SampleThinner, NeverKeepsMoreThanAskedAndAlwaysBothEnds) {
  for (const std::uint32_t max_samples : {0U, 1U, 2U, 3U, 7U, 64U}) {
    for (const int count : {1, 2, 3, 15, 16, 17, 63, 64, 65, 1000}) {
      const v1::SampleSeries series = Thin(max_samples, count);
      const int allowed = std::max(static_cast<int>(max_samples), 2);
      EXPECT_LE(series.offset_ms_size(), allowed) << max_samples << " of " << count;
      EXPECT_EQ(series.offset_ms(0), 0);
      EXPECT_EQ(*series.offset_ms().rbegin(), count - 1) << max_samples << " of " << count;
      for (int i = 0; i + 1 < series.offset_ms_size(); ++i) {
        EXPECT_EQ(series.offset_ms(i), i * static_cast<int>(series.stride())) << max_samples << " of " << count;
      }
    }
  }
}

TEST(SampleThinner, SkippingUnwantedSamplesChangesNothing) {
  SampleThinner thinner(3);
  const int count = 50;
  int skipped = 0;
  for (int i = 0; i < count; ++i) {
    metrics::SampleRow row = metrics::EmptyRow();
    row[IndexOf(MetricId::kLoadAvg1)] = i * 100;
    if (i + 1 < count && !thinner.Wants(1)) {
      thinner.Skip(1);
      ++skipped;
    } else {
      thinner.Add(microseconds(i * 1000), row);
    }
  }
  EXPECT_GT(skipped, count / 2);
  EXPECT_EQ(thinner.Finish().SerializeAsString(), Thin(3, count).SerializeAsString());
}

TEST(SampleThinner, WantsAStretchThatHasAnySampleOnTheStride) {
  SampleThinner thinner(2);
  for (int i = 0; i < 5; ++i) thinner.Add(microseconds(i), metrics::EmptyRow());
  // The stride is 4 now: 0 and 4 are kept, 8 is next.
  EXPECT_FALSE(thinner.Wants(3));
  EXPECT_TRUE(thinner.Wants(4));
  EXPECT_FALSE(thinner.Wants(0));
}

TEST(SampleThinner, GivesColumnsByNameInTheirOwnUnitsWithoutAbsentValues) {
  SampleThinner thinner(10);
  metrics::SampleRow row = metrics::EmptyRow();
  row[IndexOf(MetricId::kMemUsedPercent)] = 70'500;
  row[IndexOf(MetricId::kLoadAvg1)] = 125;
  thinner.Add(microseconds(1500), row);
  row[IndexOf(MetricId::kMemUsedPercent)] = metrics::kAbsent;
  thinner.Add(microseconds(2000), row);
  const v1::SampleSeries series = thinner.Finish();
  EXPECT_THAT(series.offset_ms(), ElementsAre(1.5, 2));
  ASSERT_EQ(series.columns_size(), 2);
  EXPECT_EQ(series.columns(0).metric(), "load_avg1");
  EXPECT_THAT(series.columns(0).values(), ElementsAre(1.25, 1.25));
  EXPECT_EQ(series.columns(1).metric(), "mem_used_percent");
  EXPECT_THAT(series.columns(1).values(), ElementsAre(70.5, testing::IsNan()));
}

}  // namespace
}  // namespace ballast::report
