#include "common/metrics/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace ballast::metrics {
namespace {

// Vectors of RFC 3720, B.4.
struct Vector {
  std::string data;
  std::uint32_t crc;
};

class Crc32cTest : public testing::TestWithParam<Vector> {};

TEST_P(Crc32cTest, AgreesWithTheRfc) {
  EXPECT_EQ(Crc32c(GetParam().data), GetParam().crc);
  EXPECT_EQ(Crc32cPortable(GetParam().data), GetParam().crc);
}

std::string Ascending() {
  std::string data;
  for (char c = 0; c < 32; ++c) data.push_back(c);
  return data;
}

std::string Descending() {
  const std::string ascending = Ascending();
  return {ascending.rbegin(), ascending.rend()};
}

std::string ScsiRead() {
  constexpr unsigned char kCommand[48] = {0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0,
                                          0x14, 0,    0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
                                          0x28, 0,    0, 0, 0, 0, 0, 0, 2, 0, 0, 0,    0, 0, 0, 0};
  return {kCommand, kCommand + 48};
}

INSTANTIATE_TEST_SUITE_P(Rfc3720, Crc32cTest,
                         testing::Values(Vector{std::string(32, '\0'), 0x8a9136aa},
                                         Vector{std::string(32, '\xff'), 0x62a8ab43}, Vector{Ascending(), 0x46dd794e},
                                         Vector{Descending(), 0x113fdb5c}, Vector{"", 0},
                                         Vector{ScsiRead(), 0xd9963a56}, Vector{"123456789", 0xe3069283}));

TEST(Crc32cPortableTest, AgreesWithTheInstructionAtEveryLengthAndAlignment) {
  std::mt19937 random(3720);
  std::string data(300, '\0');
  for (char& byte : data) byte = static_cast<char>(random() & 0xffU);
  for (std::size_t start = 0; start < 9; ++start) {
    for (std::size_t length = 0; start + length <= data.size(); ++length) {
      const std::string_view part = std::string_view(data).substr(start, length);
      ASSERT_EQ(Crc32c(part), Crc32cPortable(part)) << start << " " << length;
    }
  }
}

}  // namespace
}  // namespace ballast::metrics
