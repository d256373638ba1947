#include "common/os/zram.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/unit/common/os/fake_tree.h"

namespace ballast::os {
namespace {

// As Linux 6.1 prints it.
constexpr char kStat[] = " 4194304  2097152  2166784        0  2166784      120        0        0        0\n";

TEST(ZramTest, ReadsWhatTheKernelPrints) {
  const auto stat = ParseZramStat(kStat);
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->data_bytes, 4194304U);
  EXPECT_EQ(stat->compressed_bytes, 2097152U);
  EXPECT_EQ(stat->memory_bytes, 2166784U);
  for (const char* const bad : {"", "1 2\n", "a b c", "-1 2 3"}) EXPECT_FALSE(ParseZramStat(bad).has_value()) << bad;
}

TEST(ZramTest, AddsUpTheDevices) {
  std::array<char, kReadBufferBytes> buffer{};
  const FakeTree tree;
  EXPECT_FALSE(ZramReader(tree.root()).Read(buffer).has_value());
  tree.Write("sys/block/sda/mm_stat", kStat);
  EXPECT_FALSE(ZramReader(tree.root()).Read(buffer).has_value());
  tree.Write("sys/block/zram0/mm_stat", kStat);
  tree.Write("sys/block/zram1/mm_stat", "100 50 60 0 60 0 0 0 0\n");
  ZramReader reader(tree.root());
  const auto stat = reader.Read(buffer);
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->data_bytes, 4194404U);
  EXPECT_EQ(stat->compressed_bytes, 2097202U);
  tree.Write("sys/block/zram1/mm_stat", "200 50 60 0 60 0 0 0 0\n");
  EXPECT_EQ(reader.Read(buffer)->data_bytes, 4194504U);
}

}  // namespace
}  // namespace ballast::os
