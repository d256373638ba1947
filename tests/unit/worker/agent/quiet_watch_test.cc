#include "worker/agent/quiet_watch.h"

#include <gmock/gmock.h>

#include "common/config/field_rules.h"

namespace ballast::agent {
namespace {

using metrics::MetricId;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;

class QuietWatchTest : public testing::Test {
 protected:
  QuietWatchTest() {
    config::ApplyDefaults(&spec_);  // 25 % of the processors, 10 % of the limit
    Set(MetricId::kCpuBusyMsTotal, 0);
    Set(MetricId::kCpuIdleMsTotal, 0);
    Set(MetricId::kMemUsedPercent, 30'000);
    Set(MetricId::kVmPswpinTotal, 100);
    Set(MetricId::kVmPswpoutTotal, 100);
    Set(MetricId::kPsiMemorySomeAvg10, 0);
  }

  void Set(MetricId id, std::int64_t value) { row_[metrics::IndexOf(id)] = value; }
  void Rise(MetricId id, std::int64_t by) { row_[metrics::IndexOf(id)] += by; }

  // Samples each 100 ms, of two processors that are busy for `busy_percent`.
  void Pass(std::chrono::nanoseconds time, std::int64_t busy_percent) {
    for (const auto end = offset_ + time; offset_ < end;) {
      offset_ += milliseconds(100);
      Rise(MetricId::kCpuBusyMsTotal, 2 * busy_percent);
      Rise(MetricId::kCpuIdleMsTotal, 2 * (100 - busy_percent));
      watch_.Add(offset_, row_);
    }
  }

  v1::ValiditySpec spec_;
  metrics::SampleRow row_ = metrics::EmptyRow();
  std::chrono::nanoseconds offset_{0};
  QuietWatch watch_{[] {
                      v1::ValiditySpec spec;
                      config::ApplyDefaults(&spec);
                      return spec;
                    }(),
                    seconds(60)};
};

TEST_F(QuietWatchTest, TakesAWholeWindowOfQuiet) {
  EXPECT_THAT(watch_.Problem(), HasSubstr("not watched long enough"));
  Pass(milliseconds(2900), 5);
  EXPECT_THAT(watch_.Problem(), HasSubstr("not watched long enough"));
  Pass(milliseconds(300), 5);
  EXPECT_THAT(watch_.Problem(), IsEmpty());
}

TEST_F(QuietWatchTest, WaitsUntilTheNoiseIsOutOfTheWindow) {
  Pass(seconds(5), 60);
  EXPECT_THAT(watch_.Problem(), HasSubstr("busy for 60 %"));
  Pass(milliseconds(1000), 5);
  EXPECT_THAT(watch_.Problem(), HasSubstr("processors were busy"));
  Pass(milliseconds(2500), 5);
  EXPECT_THAT(watch_.Problem(), IsEmpty());
}

TEST_F(QuietWatchTest, MemoryThatMovesIsNoQuiet) {
  Pass(seconds(4), 0);
  Set(MetricId::kMemUsedPercent, 33'000);
  Pass(milliseconds(100), 0);
  EXPECT_THAT(watch_.Problem(), HasSubstr("memory in use moved over 3.0 %"));
  Pass(seconds(4), 0);
  EXPECT_THAT(watch_.Problem(), IsEmpty());
}

TEST_F(QuietWatchTest, SwappingAndStallsAreNoQuiet) {
  Pass(seconds(4), 0);
  Rise(MetricId::kVmPswpinTotal, 1000);
  Pass(milliseconds(100), 0);
  EXPECT_THAT(watch_.Problem(), HasSubstr("swapped"));
  Pass(seconds(4), 0);
  Set(MetricId::kPsiMemorySomeAvg10, 250);
  Pass(milliseconds(100), 0);
  EXPECT_THAT(watch_.Problem(), HasSubstr("waited for memory in 2.5 %"));
}

TEST_F(QuietWatchTest, WhatADeviceDoesNotTellIsQuiet) {
  row_ = metrics::EmptyRow();
  for (int i = 0; i <= 40; ++i) watch_.Add(milliseconds(100 * i), row_);
  EXPECT_THAT(watch_.Problem(), IsEmpty());
}

TEST_F(QuietWatchTest, AShortWaitHasAShortWindow) {
  QuietWatch watch(spec_, milliseconds(600));
  watch.Add(milliseconds(0), row_);
  watch.Add(milliseconds(300), row_);
  EXPECT_THAT(watch.Problem(), IsEmpty());
}

}  // namespace
}  // namespace ballast::agent
