#include "worker/memory/quantization_advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/gguf/memory_estimate.h"

namespace ballast::memory {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = 1U << 20U;

CandidateLevel Level(const std::string& quant, std::uint64_t weight_mib) {
  v1::ModelDescription description;
  description.set_quant(quant);
  description.set_weight_bytes(weight_mib * kMiB);
  description.set_file_bytes(weight_mib * kMiB);
  return {quant, description};
}

std::vector<CandidateLevel> Levels() {
  return {Level("Q4_K_M", 1000), Level("Q2_K", 600), Level("F16", 3000), Level("Q6_K", 1400)};
}

std::vector<std::string> Names(const v1::QuantizationAdvice& advice) {
  std::vector<std::string> names;
  for (const v1::LevelFit& level : advice.levels()) names.push_back(level.quant());
  return names;
}

TEST(QuantizationAdviceTest, TheHighestThatFitsIsTaken) {
  const v1::QuantizationAdvice advice = Advise("m", Levels(), 1500 * kMiB);
  EXPECT_EQ(advice.current_optimal(), "Q6_K");
  EXPECT_THAT(Names(advice), ::testing::ElementsAre("Q2_K", "Q4_K_M", "Q6_K", "F16"));
  EXPECT_TRUE(advice.levels(2).fits());
  EXPECT_FALSE(advice.levels(3).fits());
  EXPECT_TRUE(advice.levels(3).loads()) << "mapped weights may be dropped and read again";
  EXPECT_EQ(advice.room_bytes(), 1500 * kMiB);
}

TEST(QuantizationAdviceTest, WhatTheProcessNeedsBesideTheWeightsCounts) {
  EXPECT_EQ(Advise("m", Levels(), 1400 * kMiB).current_optimal(), "Q4_K_M");
  EXPECT_EQ(Advise("m", Levels(), 1408 * kMiB).current_optimal(), "Q6_K") << "8 MiB of the process";
}

TEST(QuantizationAdviceTest, WhereNoneFitsItSaysWhatTheSmallestNeeds) {
  const v1::QuantizationAdvice advice = Advise("m", Levels(), 100 * kMiB);
  EXPECT_EQ(advice.current_optimal(), "");
  EXPECT_THAT(advice.message(), HasSubstr("no level fits: Q2_K needs 608"));
}

TEST(QuantizationAdviceTest, LevelsOutsideTheOrderOfQualityAreComparedBySize) {
  std::vector<CandidateLevel> levels = Levels();
  levels.push_back(Level("IQ3_XXS", 700));
  EXPECT_EQ(Advise("m", levels, 750 * kMiB).current_optimal(), "IQ3_XXS");
}

TEST(QuantizationAdviceTest, ALevelThatCannotBeReadSaysWhy) {
  const v1::QuantizationAdvice advice =
      Advise("m", {{"Q8_0", absl::NotFoundError("no file")}, Level("Q2_K", 600)}, 9000 * kMiB);
  EXPECT_EQ(advice.current_optimal(), "Q2_K");
  ASSERT_EQ(advice.levels_size(), 2);
  EXPECT_EQ(advice.levels(1).problem(), "no file");
  EXPECT_FALSE(advice.levels(1).fits());
}

}  // namespace
}  // namespace ballast::memory
