#include "common/gguf/memory_estimate.h"

#include <gtest/gtest.h>

#include "common/gguf/model_description.h"
#include "common/gguf/synthetic_model.h"

namespace ballast::gguf {
namespace {

constexpr double kMiB = 1 << 20U;

v1::ModelDescription Describe(const char* shape, QuantLevel level) {
  return DescribeModel(SyntheticModel(*FindShape(shape), level, 1).AsFile());
}

v1::ModelLoad Load(v1::ModelLoad::Runtime runtime, v1::ModelLoad::Loader loader) {
  v1::ModelLoad load;
  load.set_runtime(runtime);
  load.set_loader(loader);
  return load;
}

double InMiB(std::uint64_t bytes) {
  return static_cast<double>(bytes) / kMiB;
}

// Against what was measured of the server alone: the model of 3B at Q4_K_M, context 512, no limit.
TEST(MemoryEstimateTest, LlamaCppAsMeasured) {
  const v1::ModelDescription model = Describe("qwen2.5-3b", QuantLevel::kQ4_K_M);
  EXPECT_NEAR(InMiB(model.file_bytes()), 1839, 3);
  v1::ModelLoad load = Load(v1::ModelLoad::LLAMA_CPP, v1::ModelLoad::MMAP);
  v1::MemoryEstimate estimate = EstimateMemory(model, load, 0);
  EXPECT_NEAR(InMiB(estimate.required_bytes()), 1335, 10) << "anonymous, repacked";
  EXPECT_NEAR(InMiB(estimate.resident_bytes()), 3178, 20);
  load.set_no_repack(true);
  estimate = EstimateMemory(model, load, 0);
  EXPECT_NEAR(InMiB(estimate.required_bytes()), 70, 5);
  EXPECT_NEAR(InMiB(estimate.resident_bytes()), 1913, 20);
  load.set_lock(true);
  EXPECT_NEAR(InMiB(EstimateMemory(model, load, 0).required_bytes()), 1913, 20);
  EXPECT_EQ(EstimateMemory(model, load, 0).resident_bytes(), estimate.resident_bytes());
  for (const auto loader : {v1::ModelLoad::READ, v1::ModelLoad::DIRECT}) {
    estimate = EstimateMemory(model, Load(v1::ModelLoad::LLAMA_CPP, loader), 0);
    EXPECT_NEAR(InMiB(estimate.required_bytes()), 1904, 20);
    EXPECT_EQ(estimate.weight_file_bytes(), 0U);
  }
  EXPECT_EQ(EstimateMemory(model, load).resident_bytes(),
            EstimateMemory(model, load, 0).resident_bytes() + kUsualRunnerBytes);
}

TEST(MemoryEstimateTest, TheKvCacheGrowsWithTheContext) {
  const v1::ModelDescription model = Describe("qwen2.5-7b", QuantLevel::kQ2_K);
  v1::ModelLoad load = Load(v1::ModelLoad::LLAMA_CPP, v1::ModelLoad::MMAP);
  EXPECT_EQ(EstimateMemory(model, load).kv_cache_bytes(), 2ULL * 28 * 4 * 128 * 512 * 2);
  load.set_context_tokens(32768);
  EXPECT_EQ(EstimateMemory(model, load).kv_cache_bytes(), 1'879'048'192U);
}

TEST(MemoryEstimateTest, TheBuiltInLoader) {
  const v1::ModelDescription model = Describe("tiny", QuantLevel::kQ4_K_M);
  v1::ModelLoad load = Load(v1::ModelLoad::BUILTIN, v1::ModelLoad::MMAP_POPULATE);
  v1::MemoryEstimate estimate = EstimateMemory(model, load);
  EXPECT_EQ(estimate.weight_file_bytes(), model.weight_bytes());
  EXPECT_EQ(estimate.weight_anon_bytes(), 0U);
  EXPECT_EQ(estimate.kv_cache_bytes(), 0U);
  EXPECT_LT(estimate.required_bytes(), 16U << 20U);
  EXPECT_EQ(estimate.resident_bytes(), estimate.required_bytes() + model.weight_bytes());
  // Most of what a small model takes is the runner, which a worker measures.
  EXPECT_EQ(EstimateMemory(model, load, 20U << 20U).resident_bytes(), (20U << 20U) + model.weight_bytes());
  load.set_lock(true);
  EXPECT_EQ(EstimateMemory(model, load).required_bytes(), estimate.resident_bytes());
  estimate = EstimateMemory(model, Load(v1::ModelLoad::BUILTIN, v1::ModelLoad::DIRECT));
  EXPECT_EQ(estimate.weight_anon_bytes(), model.weight_bytes());
  EXPECT_EQ(estimate.required_bytes(), estimate.resident_bytes());
}

}  // namespace
}  // namespace ballast::gguf
