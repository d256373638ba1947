#include "worker/agent/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ballast::agent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Scanned {
  FrameScan scan;
  std::vector<std::string> payloads;
};

Scanned Scan(std::string_view content) {
  Scanned scanned;
  scanned.scan =
      ScanFrames(content, [&](std::size_t, std::string_view payload) { scanned.payloads.emplace_back(payload); });
  return scanned;
}

std::string Frames(const std::vector<std::string>& payloads) {
  std::string bytes;
  for (const std::string& payload : payloads) AppendFrame(payload, &bytes);
  return bytes;
}

TEST(FrameTest, HoldsLengthChecksumAndPayload) {
  std::string bytes;
  AppendFrame("123456789", &bytes);
  // The check value of CRC32C is E3069283.
  EXPECT_EQ(bytes, std::string("\x09\x00\x00\x00\x83\x92\x06\xE3", 8) + "123456789");
  EXPECT_EQ(FrameAt(bytes, 0), "123456789");
  EXPECT_EQ(FrameAt(bytes, 1), std::nullopt);
}

TEST(FrameTest, ATornTailIsCutAtEveryLength) {
  const std::string whole = Frames({"one", "two", "three"});
  const std::size_t second = Frames({"one"}).size();
  const std::size_t third = Frames({"one", "two"}).size();
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    const Scanned scanned = Scan(std::string_view(whole).substr(0, length));
    const std::size_t clean = length == whole.size() ? length : length >= third ? third : length >= second ? second : 0;
    EXPECT_EQ(scanned.scan.clean_bytes, clean) << length;
    EXPECT_EQ(scanned.scan.lost_bytes, length - clean) << length;
    EXPECT_EQ(scanned.scan.skipped_frames, 0U) << length;
  }
}

TEST(FrameTest, AFileThatWasExtendedButNotWrittenEndsAtTheZeros) {
  const Scanned scanned = Scan(Frames({"one"}) + std::string(4096, '\0'));
  EXPECT_THAT(scanned.payloads, ElementsAre("one"));
  EXPECT_EQ(scanned.scan.lost_bytes, 4096U);
}

TEST(FrameTest, ADamagedPayloadIsPassedOver) {
  std::string bytes = Frames({"one", "two", "three"});
  bytes[Frames({"one"}).size() + kFrameHeaderBytes] ^= 0x10;
  const Scanned scanned = Scan(bytes);
  EXPECT_THAT(scanned.payloads, ElementsAre("one", "three"));
  EXPECT_EQ(scanned.scan.skipped_frames, 1U);
  EXPECT_EQ(scanned.scan.clean_bytes, bytes.size());
}

TEST(FrameTest, NoFlippedBitBringsUpAnotherPayload) {
  const std::vector<std::string> payloads = {"first", "second payload", "x", "the last of them"};
  const std::string whole = Frames(payloads);
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    std::size_t next = 0;
    for (const std::string& payload : Scan(bytes).payloads) {
      while (next < payloads.size() && payloads[next] != payload) ++next;
      ASSERT_LT(next, payloads.size()) << "bit " << bit << " brought up '" << payload << "'";
      ++next;
    }
  }
}

TEST(FrameTest, HostileLengthsAreDamage) {
  EXPECT_THAT(Scan(std::string("\xFF\xFF\xFF\xFF\x00\x00\x00\x00payload", 15)).payloads, IsEmpty());
  EXPECT_THAT(Scan(std::string("\x00\x00\x00\x80\x00\x00\x00\x00", 8)).payloads, IsEmpty());
}

}  // namespace
}  // namespace ballast::agent
