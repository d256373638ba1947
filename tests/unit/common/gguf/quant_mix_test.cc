#include "common/gguf/quant_mix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <set>

namespace ballast::gguf {
namespace {

using testing::HasSubstr;

// Bytes of the tensors of the published files.
struct PublishedSizes {
  std::string_view shape;
  std::uint64_t parameters;
  std::array<std::uint64_t, 7> bytes;  // Q2_K, Q3_K_M, Q4_0, Q4_K_M, Q5_K_M, Q6_K, Q8_0
};
constexpr std::array<PublishedSizes, 3> kPublished = {{
    {"qwen2.5-7b",
     7'615'616'512,
     {3'009'986'560, 3'802'437'632, 4'425'437'184, 4'677'120'000, 5'438'877'696, 6'248'245'248, 8'092'571'648}},
    {"qwen2.5-1.5b",
     1'543'714'304,
     {670'353'920, 818'227'712, 929'004'032, 980'097'536, 1'119'099'392, 1'266'788'864, 1'640'622'080}},
    {"qwen2.5-0.5b",
     494'032'768,
     {332'659'200, 349'518'336, 346'206'720, 391'859'712, 414'137'856, 499'788'288, 525'120'000}},
}};
constexpr std::array<QuantLevel, 7> kPublishedLevels = {QuantLevel::kQ2_K,   QuantLevel::kQ3_K_M, QuantLevel::kQ4_0,
                                                        QuantLevel::kQ4_K_M, QuantLevel::kQ5_K_M, QuantLevel::kQ6_K,
                                                        QuantLevel::kQ8_0};

TEST(QuantMixTest, SizesAreThoseOfThePublishedFilesToTheByte) {
  for (const PublishedSizes& published : kPublished) {
    const ModelShape shape = *FindShape(published.shape);
    for (std::size_t i = 0; i < kPublishedLevels.size(); ++i) {
      const ModelPlan plan = PlanModel(shape, kPublishedLevels[i]);
      EXPECT_EQ(plan.tensor_bytes, published.bytes[i]) << published.shape << ' ' << NameOf(kPublishedLevels[i]);
      EXPECT_EQ(plan.parameter_count, published.parameters) << published.shape;
    }
  }
}

TEST(QuantMixTest, APlanIsAListThatAFileCanHave) {
  for (const ModelShape& shape : KnownShapes()) {
    for (const QuantLevel level : LevelsByQuality()) {
      const ModelPlan plan = PlanModel(shape, level);
      std::set<std::string> names;
      std::uint64_t next_offset = 0;
      std::uint64_t bytes = 0;
      for (const Tensor& tensor : plan.tensors) {
        EXPECT_TRUE(names.insert(tensor.name).second) << tensor.name;
        EXPECT_EQ(tensor.offset_bytes, next_offset) << tensor.name;
        EXPECT_EQ(tensor.dimensions[0] % InfoOf(tensor.type).block_elements, 0U) << tensor.name;
        next_offset += (tensor.size_bytes + 31) / 32 * 32;
        bytes += tensor.size_bytes;
      }
      EXPECT_EQ(bytes, plan.tensor_bytes);
      EXPECT_EQ(names.contains("output.weight"), !shape.tied_output);
    }
  }
}

TEST(QuantMixTest, BetterLevelsHaveMoreBits) {
  const ModelShape shape = *FindShape("qwen2.5-7b");
  double before = 0;
  for (const QuantLevel level : LevelsByQuality()) {
    const double bits = PlanModel(shape, level).bits_per_weight();
    EXPECT_GT(bits, before) << NameOf(level);
    before = bits;
  }
  EXPECT_NEAR(before, 16, 0.01);
}

// Every mix has in the small shape what it has in the one of 7B.
TEST(QuantMixTest, TinyHasTheTypesOfARealModel) {
  for (const QuantLevel level : LevelsByQuality()) {
    std::set<TensorType> tiny;
    std::set<TensorType> real;
    for (const Tensor& tensor : PlanModel(*FindShape("tiny"), level).tensors) tiny.insert(tensor.type);
    for (const Tensor& tensor : PlanModel(*FindShape("qwen2.5-7b"), level).tensors) real.insert(tensor.type);
    EXPECT_TRUE(std::includes(real.begin(), real.end(), tiny.begin(), tiny.end())) << NameOf(level);
    EXPECT_LT(PlanModel(*FindShape("tiny"), level).tensor_bytes, 8U << 20U);
  }
}

TEST(QuantMixTest, LevelsAreFoundByNameAndByFile) {
  for (const QuantLevel level : LevelsByQuality()) {
    EXPECT_EQ(*FindQuantLevel(NameOf(level)), level);
    ModelFile model;
    model.key_values.push_back({"general.file_type", ValueType::kUint32, std::uint64_t{FileTypeOf(level)}});
    EXPECT_EQ(LevelOf(model), level);
  }
  EXPECT_EQ(*FindQuantLevel("q4_k_m"), QuantLevel::kQ4_K_M);
  EXPECT_THAT(std::string(FindQuantLevel("Q4").status().message()), HasSubstr("'Q4'; there are Q2_K, Q3_K_M, Q4_0"));
  EXPECT_EQ(LevelOf(ModelFile()), std::nullopt);
}

}  // namespace
}  // namespace ballast::gguf
