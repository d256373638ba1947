#include "worker/pressure/page_permutation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <vector>

#include "worker/pressure/page_block.h"

namespace ballast::pressure {
namespace {

class PagePermutationTest : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(PagePermutationTest, MeetsEachNumberOnce) {
  const PagePermutation order(GetParam(), MixWord(7));
  std::vector<int> met(GetParam());
  for (std::uint64_t place = 0; place < GetParam(); ++place) {
    const std::uint64_t number = order.At(place);
    ASSERT_LT(number, GetParam());
    ++met[number];
  }
  for (const int times : met) ASSERT_EQ(times, 1);
}

INSTANTIATE_TEST_SUITE_P(Counts, PagePermutationTest, ::testing::Values(1, 2, 3, 5, 64, 65, 1000, 4096, 100'003));

// Correlation of two series: 0 for independent ones.
double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  double sum_a = 0, sum_b = 0, sum_aa = 0, sum_bb = 0, sum_ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum_a += a[i];
    sum_b += b[i];
    sum_aa += a[i] * a[i];
    sum_bb += b[i] * b[i];
    sum_ab += a[i] * b[i];
  }
  return (n * sum_ab - sum_a * sum_b) / std::sqrt((n * sum_aa - sum_a * sum_a) * (n * sum_bb - sum_b * sum_b));
}

std::vector<double> Order(std::uint64_t count, std::uint64_t key) {
  const PagePermutation order(count, MixWord(key));
  std::vector<double> numbers;
  for (std::uint64_t place = 0; place < count; ++place) numbers.push_back(static_cast<double>(order.At(place)));
  return numbers;
}

// Readahead, and the kernel's lists, must find nothing to go by. The limits are four standard deviations.
TEST(PagePermutationOrderTest, HasNoPatternAndIsAnotherInEachRound) {
  constexpr std::uint64_t kCount = 50'000;
  const double limit = 4 / std::sqrt(static_cast<double>(kCount));
  for (std::uint64_t round = 0; round < 20; ++round) {
    const std::vector<double> order = Order(kCount, round);
    const std::vector<double> next_round = Order(kCount, round + 1);
    EXPECT_LT(std::abs(Correlation(order, next_round)), limit) << round;
    const std::vector<double> places(order.begin(), order.end() - 1);
    const std::vector<double> next_places(order.begin() + 1, order.end());
    EXPECT_LT(std::abs(Correlation(places, next_places)), limit) << round;
    std::uint64_t neighbours = 0;
    for (std::size_t i = 1; i < order.size(); ++i) neighbours += std::abs(order[i] - order[i - 1]) <= 8 ? 1U : 0U;
    // Of random neighbours 16 in 50,000 are that close: 16 in all.
    EXPECT_LT(neighbours, 40U) << round;
  }
}

}  // namespace
}  // namespace ballast::pressure
