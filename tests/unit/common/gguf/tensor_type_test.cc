#include "common/gguf/tensor_type.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace ballast::gguf {
namespace {

using testing::HasSubstr;

TEST(TensorTypeTest, EachTypeStandsOnceAndIsFound) {
  std::set<std::string_view> names;
  for (const TensorTypeInfo& info : TensorTypes()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(FindTensorType(static_cast<std::uint32_t>(info.type)), &info);
    EXPECT_EQ(&InfoOf(info.type), &info);
  }
}

TEST(TensorTypeTest, Sizes) {
  EXPECT_EQ(TensorBytes(TensorType::kF32, 3), 12U);
  EXPECT_EQ(TensorBytes(TensorType::kQ4_0, 64), 36U);
  EXPECT_EQ(TensorBytes(TensorType::kQ4_K, 512), 288U);
  EXPECT_EQ(TensorBytes(TensorType::kQ4_K, 255), std::nullopt);
  EXPECT_EQ(TensorBytes(TensorType::kF64, std::uint64_t{1} << 60U), std::nullopt);
  EXPECT_EQ(TensorBytes(TensorType::kF64, (std::uint64_t{1} << 60U) - 1), (std::uint64_t{1} << 63U) - 8);
}

TEST(TensorTypeTest, UnknownNumbersAreExplained) {
  EXPECT_EQ(FindTensorType(5), nullptr);
  EXPECT_THAT(DescribeUnknownTensorType(5), HasSubstr("Q4_3"));
  EXPECT_THAT(DescribeUnknownTensorType(1000), HasSubstr("1000, which this version does not know"));
}

}  // namespace
}  // namespace ballast::gguf
