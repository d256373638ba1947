#include "worker/agent/load_plan.h"

#include <gtest/gtest.h>

#include <set>

namespace ballast::agent {
namespace {

v1::Workload Quantization(std::uint32_t rounds, std::uint64_t seed) {
  v1::Workload workload;
  workload.mutable_quantization()->mutable_load();
  workload.mutable_quantization()->set_loads_per_level(rounds);
  workload.mutable_quantization()->set_seed(seed);
  return workload;
}

std::vector<int> Order(const std::vector<PlannedLoad>& loads) {
  std::vector<int> order;
  for (const PlannedLoad& load : loads) order.push_back(load.model);
  return order;
}

TEST(LoadPlanTest, AModelIsLoadedAsOftenAsAsked) {
  v1::Workload workload;
  workload.mutable_model()->mutable_load();
  workload.mutable_model()->set_loads(3);
  const std::vector<PlannedLoad> loads = PlanLoads(workload, 1);
  ASSERT_EQ(loads.size(), 3U);
  EXPECT_EQ(loads[2].repetition, 3U);
  EXPECT_EQ(loads[2].model, 0);
}

TEST(LoadPlanTest, InEachRoundEveryLevelHasItsTurnOnce) {
  const std::vector<PlannedLoad> loads = PlanLoads(Quantization(20, 7), 5);
  ASSERT_EQ(loads.size(), 100U);
  std::set<std::vector<int>> orders;
  for (std::size_t round = 0; round < 20; ++round) {
    std::vector<int> order;
    for (std::size_t i = 0; i < 5; ++i) {
      EXPECT_EQ(loads[round * 5 + i].repetition, round + 1);
      order.push_back(loads[round * 5 + i].model);
    }
    orders.insert(order);
    EXPECT_EQ(std::set<int>(order.begin(), order.end()).size(), 5U);
  }
  EXPECT_GT(orders.size(), 10U) << "a device that drifts would favour the first";
}

TEST(LoadPlanTest, TheSeedGivesTheOrder) {
  EXPECT_EQ(Order(PlanLoads(Quantization(10, 7), 4)), Order(PlanLoads(Quantization(10, 7), 4)));
  EXPECT_NE(Order(PlanLoads(Quantization(10, 7), 4)), Order(PlanLoads(Quantization(10, 8), 4)));
}

TEST(LoadPlanTest, WithoutAModelNothingIsLoaded) {
  v1::Workload workload;
  workload.mutable_pressure();
  EXPECT_TRUE(PlanLoads(workload, 1).empty());
  workload.mutable_stability();
  EXPECT_TRUE(PlanLoads(workload, 1).empty());
  workload.mutable_stability()->mutable_load();
  EXPECT_EQ(PlanLoads(workload, 1).size(), 1U);
}

}  // namespace
}  // namespace ballast::agent
