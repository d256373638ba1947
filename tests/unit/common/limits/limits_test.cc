#include "common/limits/limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace ballast::environment {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;

constexpr char kDisk[] = "8:16";

v1::EnvironmentProfile Profile() {
  v1::EnvironmentProfile profile;
  profile.set_name("small");
  profile.set_memory_bytes(2ULL << 30U);
  profile.mutable_swap()->set_kind(v1::SwapLimit::NONE);
  return profile;
}

v1::EnvironmentProfile FullProfile() {
  v1::EnvironmentProfile profile = Profile();
  profile.set_memory_high_bytes(1ULL << 30U);
  profile.mutable_swap()->set_kind(v1::SwapLimit::DEVICE);
  profile.mutable_swap()->set_size_bytes(512ULL << 20U);
  profile.set_swappiness(10);
  profile.set_cpus(1.5);
  profile.set_cpu_weight(50);
  profile.set_io_read_bytes_per_second(10'000'000);
  profile.set_io_write_bytes_per_second(5'000'000);
  return profile;
}

// `FILE=TEXT`, in order.
std::vector<std::string> Writes(const v1::EnvironmentProfile& profile, int version) {
  std::vector<std::string> writes;
  for (const PlannedLimit& limit : PlanLimits(profile, version, kDisk)) {
    for (const ControlWrite& write : limit.writes) writes.push_back(write.file + "=" + write.text);
  }
  return writes;
}

TEST(PlanLimitsTest, Version2) {
  EXPECT_THAT(Writes(Profile(), 2), ElementsAre("memory.max=2147483648", "memory.swap.max=0"));
  EXPECT_THAT(Writes(FullProfile(), 2), ElementsAre("memory.max=2147483648", "memory.swap.max=536870912",
                                                    "memory.high=1073741824", "cpu.max=150000 100000", "cpu.weight=50",
                                                    "io.max=8:16 rbps=10000000", "io.max=8:16 wbps=5000000"));
  EXPECT_THAT(MissingIn(2, FullProfile()), ElementsAre(HasSubstr("swappiness")));
  EXPECT_THAT(MissingIn(2, Profile()), IsEmpty());
}

TEST(PlanLimitsTest, Version1TakesMemoryFirstAndSwapOnTopOfIt) {
  EXPECT_THAT(Writes(Profile(), 1),
              ElementsAre("memory.limit_in_bytes=2147483648", "memory.memsw.limit_in_bytes=2147483648"));
  EXPECT_THAT(
      Writes(FullProfile(), 1),
      ElementsAre("memory.limit_in_bytes=2147483648", "memory.memsw.limit_in_bytes=2684354560", "memory.swappiness=10",
                  "cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000", "cpu.shares=512",
                  "blkio.throttle.read_bps_device=8:16 10000000", "blkio.throttle.write_bps_device=8:16 5000000"));
  EXPECT_THAT(MissingIn(1, FullProfile()), ElementsAre(HasSubstr("memory_high_bytes"), HasSubstr("written back")));
}

TEST(PlanLimitsTest, SmallSharesOfAProcessorGetALongPeriod) {
  v1::EnvironmentProfile profile = Profile();
  profile.set_cpus(0.005);
  EXPECT_THAT(Writes(profile, 2), testing::Contains("cpu.max=5000 1000000"));
}

TEST(PlanLimitsTest, SwapThatTheProfileDoesNotWantIsNoneWhateverItsSize) {
  v1::EnvironmentProfile profile = Profile();
  profile.mutable_swap()->set_size_bytes(1ULL << 30U);
  EXPECT_THAT(Writes(profile, 2), testing::Contains("memory.swap.max=0"));
}

std::optional<double> Parsed(LimitKind kind, int version, const std::vector<std::string>& contents) {
  const auto parsed = ParseLimit(kind, version, contents, kDisk);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : std::nullopt;
}

TEST(ParseLimitTest, Bytes) {
  EXPECT_THAT(Parsed(LimitKind::kMemory, 2, {"1073741824\n"}), Optional(1073741824.0));
  EXPECT_EQ(Parsed(LimitKind::kMemory, 2, {"max\n"}), std::nullopt);
  EXPECT_EQ(Parsed(LimitKind::kMemory, 1, {"9223372036854771712\n"}), std::nullopt);
  EXPECT_THAT(Parsed(LimitKind::kSwap, 2, {"0\n"}), Optional(0.0));
}

TEST(ParseLimitTest, Processors) {
  EXPECT_THAT(Parsed(LimitKind::kProcessors, 2, {"150000 100000\n"}), Optional(1.5));
  EXPECT_EQ(Parsed(LimitKind::kProcessors, 2, {"max 100000\n"}), std::nullopt);
  EXPECT_THAT(Parsed(LimitKind::kProcessors, 1, {"50000\n", "100000\n"}), Optional(0.5));
  EXPECT_EQ(Parsed(LimitKind::kProcessors, 1, {"-1\n", "100000\n"}), std::nullopt);
}

TEST(ParseLimitTest, DisksAmongOthers) {
  const std::string both = "8:0 rbps=1 wbps=2 riops=max wiops=max\n8:16 rbps=1048576 wbps=max riops=max wiops=max\n";
  EXPECT_THAT(Parsed(LimitKind::kDiskRead, 2, {both}), Optional(1048576.0));
  EXPECT_EQ(Parsed(LimitKind::kDiskWrite, 2, {both}), std::nullopt);
  EXPECT_EQ(Parsed(LimitKind::kDiskRead, 2, {""}), std::nullopt);
  EXPECT_THAT(Parsed(LimitKind::kDiskRead, 1, {"8:0 5\n8:16 1048576\n"}), Optional(1048576.0));
  EXPECT_EQ(Parsed(LimitKind::kDiskRead, 1, {"8:0 5\n"}), std::nullopt);
}

TEST(ParseLimitTest, NonsenseIsNoLimitOfNone) {
  const std::vector<std::pair<LimitKind, std::vector<std::string>>> cases = {
      {LimitKind::kMemory, {""}},
      {LimitKind::kMemory, {"-1\n"}},
      {LimitKind::kMemory, {"12 34\n"}},
      {LimitKind::kMemory, {"1e9\n"}},
      {LimitKind::kMemory, {"99999999999999999999999\n"}},
      {LimitKind::kProcessors, {"max\n"}},
      {LimitKind::kProcessors, {"50000 0\n"}},
      {LimitKind::kProcessors, {"fast 100000\n"}},
      {LimitKind::kProcessorWeight, {"max\n"}},
      {LimitKind::kDiskRead, {"8:16 rbps=x\n"}},
      {LimitKind::kDiskRead, {"8:16\n"}},
  };
  for (const auto& [kind, contents] : cases) EXPECT_FALSE(ParseLimit(kind, 2, contents, kDisk).ok()) << contents[0];
  EXPECT_FALSE(ParseLimit(LimitKind::kDiskRead, 1, {"8:16 lots\n"}, kDisk).ok());
}

TEST(LimitTextTest, SaysTheUnit) {
  EXPECT_EQ(LimitText(LimitKind::kMemory, std::nullopt), "no limit");
  EXPECT_EQ(LimitText(LimitKind::kMemory, 2147483648.0), "2 GiB");
  EXPECT_EQ(LimitText(LimitKind::kProcessors, 1.5), "1.5 processors");
  EXPECT_EQ(LimitText(LimitKind::kDiskRead, 1048576.0), "1 MiB/s");
}

}  // namespace
}  // namespace ballast::environment
