#include "common/gguf/model_description.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/gguf/synthetic_model.h"
#include "tests/fuzz/model_bytes.h"

namespace ballast::gguf {
namespace {

ModelFile Parse(const std::string& bytes) {
  MemoryByteSource source(bytes);
  return ParseModelFile(source).value();
}

TEST(ModelDescriptionTest, AModelOfAKnownShape) {
  const ModelFile model = SyntheticModel(*FindShape("qwen2.5-0.5b"), QuantLevel::kQ4_K_M, 1).AsFile();
  const v1::ModelDescription description = DescribeModel(model);
  EXPECT_EQ(description.architecture(), "qwen2");
  EXPECT_EQ(description.quant(), "Q4_K_M");
  EXPECT_EQ(description.layer_count(), 24U);
  EXPECT_EQ(description.head_length(), 64U);
  EXPECT_EQ(description.vocabulary_size(), 151936U);
  EXPECT_EQ(description.parameter_count(), 494'032'768U);
  EXPECT_EQ(description.weight_bytes(), 391'859'712U);
  EXPECT_EQ(description.file_bytes(), model.file_size_bytes);
  // llama.cpp reports 28.05 MiB: the twelve ffn_down of Q4_K. The other matrices are Q5_0, Q6_K and Q8_0.
  EXPECT_EQ(description.repackable_bytes(), 12U * 4864 * 896 / 256 * 144);
  EXPECT_EQ(description.tensor_count(), 290U);
  EXPECT_EQ(description.shard_count(), 1U);
}

TEST(ModelDescriptionTest, WhatIsNoLanguageModelHasNoShape) {
  const v1::ModelDescription description =
      DescribeModel(Parse(ModelBytes().Text("general.architecture", "clip").Text("general.name", "\xff!").Bytes()));
  EXPECT_EQ(description.architecture(), "clip");
  EXPECT_EQ(description.name(), "'\\xff!'");
  EXPECT_EQ(description.layer_count(), 0U);
  EXPECT_EQ(description.quant(), "");
}

TEST(ModelDescriptionTest, ATensor) {
  const ModelFile model = Parse(SmallModel().Bytes());
  const v1::TensorDescription tensor = DescribeTensor(model, model.tensors[2]);
  EXPECT_EQ(tensor.name(), "blk.0.ffn_down.weight");
  EXPECT_EQ(tensor.type(), "Q4_K");
  EXPECT_THAT(tensor.dimensions(), testing::ElementsAre(256U, 2U));
  EXPECT_EQ(tensor.offset_bytes(), model.parts[0].data_offset_bytes + 672);
  EXPECT_EQ(tensor.size_bytes(), 288U);
}

TEST(ModelDescriptionTest, KeysAsText) {
  const ModelFile model = Parse(SmallModel().Text("long", std::string(kMaxKeptTextBytes + 1, 'x')).Bytes());
  const auto value = [&model](std::string_view key) { return DescribeKey(*model.Find(key)).value(); };
  EXPECT_EQ(value("general.name"), "小模型");
  EXPECT_EQ(value("a.u64"), "9223372036854775808");
  EXPECT_EQ(value("a.i8"), "-2");
  EXPECT_EQ(value("a.f32"), "0.5");
  EXPECT_EQ(value("a.f64"), "0.25");
  EXPECT_EQ(value("a.bool"), "true");
  EXPECT_EQ(value("tokenizer.ggml.tokens"), "3 × string");
  EXPECT_EQ(value("long"), "65537 bytes");
  EXPECT_EQ(DescribeKey(*model.Find("a.u16")).type(), "u16");
}

TEST(ModelDescriptionTest, OnlyMatricesInEightsAreRepackedAndNeverTheEmbedding) {
  Tensor tensor{.name = "w", .type = TensorType::kQ4_0, .dimension_count = 2, .dimensions = {32, 8, 1, 1}};
  EXPECT_TRUE(IsRepackable(tensor));
  tensor.dimensions[1] = 9;
  EXPECT_FALSE(IsRepackable(tensor));
  tensor.dimensions[1] = 8;
  tensor.name = "token_embd.weight";
  EXPECT_FALSE(IsRepackable(tensor));
  tensor.name = "w";
  tensor.type = TensorType::kQ6_K;
  EXPECT_FALSE(IsRepackable(tensor));
}

}  // namespace
}  // namespace ballast::gguf
