#include "worker/guard/rate_window.h"

#include <gtest/gtest.h>

namespace ballast::guard {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(RateWindowTest, SaysNothingInTheFirstHalfSecond) {
  RateWindow window;
  EXPECT_FALSE(window.Add(seconds(100), 1000).has_value());
  EXPECT_FALSE(window.Add(seconds(100) + milliseconds(400), 1400).has_value());
  EXPECT_DOUBLE_EQ(window.Add(seconds(100) + milliseconds(600), 1600).value(), 1000);
}

TEST(RateWindowTest, CoversTheLastSecondHoweverOftenItIsFed) {
  for (const milliseconds step : {milliseconds(5), milliseconds(20), milliseconds(33), milliseconds(200)}) {
    RateWindow window;
    std::optional<double> rate;
    milliseconds time(0);
    for (; time < seconds(10); time += step) rate = window.Add(time, 0);
    EXPECT_DOUBLE_EQ(rate.value(), 0);
    // From here on a thousand a second.
    const milliseconds begun = time;
    for (; time < begun + seconds(2); time += step) {
      rate = window.Add(time, static_cast<std::uint64_t>((time - begun).count()));
    }
    EXPECT_NEAR(rate.value(), 1000, 1) << "every " << step.count() << " ms";
  }
}

TEST(RateWindowTest, AfterALongGapTheGapIsTheWindow) {
  RateWindow window;
  (void)window.Add(seconds(1), 0);
  EXPECT_DOUBLE_EQ(window.Add(seconds(5), 400).value(), 100);
}

TEST(RateWindowTest, ACounterThatGoesBackBeginsAnew) {
  RateWindow window;
  (void)window.Add(seconds(1), 1000);
  EXPECT_FALSE(window.Add(seconds(2), 10).has_value());
  EXPECT_DOUBLE_EQ(window.Add(seconds(3), 20).value(), 10);
}

}  // namespace
}  // namespace ballast::guard
