#include "common/gguf/model_shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fuzz/model_bytes.h"

namespace ballast::gguf {
namespace {

using testing::HasSubstr;

absl::StatusOr<ModelShape> Shape(const ModelBytes& bytes) {
  const std::string content = bytes.Bytes();
  MemoryByteSource source(content);
  const auto model = ParseModelFile(source);
  if (!model.ok()) return model.status();
  return ShapeOf(*model);
}

TEST(ModelShapeTest, TheShapeOfAFile) {
  const auto shape = Shape(SmallModel());
  ASSERT_TRUE(shape.ok()) << shape.status();
  EXPECT_EQ(shape->name, "小模型");
  EXPECT_EQ(shape->architecture, "qwen2");
  EXPECT_EQ(shape->layer_count, 1U);
  EXPECT_EQ(shape->embedding_length, 256U);
  EXPECT_EQ(shape->feed_forward_length, 512U);
  EXPECT_EQ(shape->head_count, 4U);
  EXPECT_EQ(shape->kv_head_count, 2U);
  EXPECT_EQ(shape->head_dimension, 64U);
  EXPECT_EQ(shape->kv_length(), 128U);
  EXPECT_EQ(shape->context_length, 128U);
  EXPECT_EQ(shape->vocabulary_size, 3U);
  EXPECT_TRUE(shape->tied_output);
}

TEST(ModelShapeTest, TheOutputMayBeATensorOfItsOwn) {
  ModelBytes bytes = SmallModel();
  bytes.Tensor("output.weight", TensorType::kQ6_K, {256, 3});
  EXPECT_FALSE(Shape(bytes)->tied_output);
}

ModelBytes Keys(std::uint32_t embedding, std::uint32_t heads) {
  ModelBytes bytes;
  bytes.Text("general.architecture", "llama").U32("llama.block_count", 2).U32("llama.embedding_length", embedding);
  bytes.U32("llama.feed_forward_length", 64).U32("llama.attention.head_count", heads).U32("llama.context_length", 8);
  return bytes;
}

TEST(ModelShapeTest, WhatAFileLeavesOutFollowsFromTheRest) {
  const auto shape = Shape(Keys(64, 4));
  ASSERT_TRUE(shape.ok()) << shape.status();
  EXPECT_EQ(shape->kv_head_count, 4U);
  EXPECT_EQ(shape->head_dimension, 16U);
  ModelBytes with_key_length = Keys(63, 4);
  with_key_length.U32("llama.attention.key_length", 20);
  EXPECT_EQ(Shape(with_key_length)->head_dimension, 20U);
}

TEST(ModelShapeTest, WhatHasNoShapeIsExplained) {
  const auto said = [](const ModelBytes& bytes) { return std::string(Shape(bytes).status().message()); };
  EXPECT_THAT(said(ModelBytes()), HasSubstr("'general.architecture' is missing"));
  EXPECT_THAT(said(ModelBytes().Text("general.architecture", "clip")), HasSubstr("'clip.block_count' is missing"));
  EXPECT_THAT(said(Keys(64, 0)), HasSubstr("'llama.attention.head_count'"));
  EXPECT_THAT(said(Keys(63, 4)), HasSubstr("4 heads do not divide an embedding of 63"));
  ModelBytes other_kind;
  other_kind.Text("general.architecture", "llama").Text("llama.block_count", "two");
  EXPECT_THAT(said(other_kind), HasSubstr("'llama.block_count' is of type string"));
}

TEST(ModelShapeTest, KnownShapesAreFoundByName) {
  EXPECT_EQ(FindShape("Qwen2.5-7B")->layer_count, 28U);
  EXPECT_FALSE(FindShape("qwen2.5-7b")->tied_output);
  const auto none = FindShape("qwen");
  EXPECT_TRUE(absl::IsNotFound(none.status()));
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("'qwen'; there are tiny, qwen2.5-0.5b"));
}

}  // namespace
}  // namespace ballast::gguf
