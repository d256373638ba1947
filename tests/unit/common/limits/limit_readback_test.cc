#include "common/limits/limit_readback.h"

#include <gmock/gmock.h>

#include "tests/unit/worker/environment/group_fixture.h"

namespace ballast::environment {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

constexpr std::uint64_t kGib = 1ULL << 30U;

// A group, its parent and the root.
class LimitReadbackTest : public DirectoryFixture {
 protected:
  LimitReadbackTest() { directories_ = {Path("top/mid/env"), Path("top/mid"), Path("top")}; }

  std::optional<EnvironmentRefusal> Check(LimitKind kind, double asked, int version = 2) {
    found_ = LimitReadback();
    return CheckLimit({.kind = kind, .asked = asked, .writes = {}}, version, "8:0", "small", directories_, &found_);
  }

  std::vector<std::string> directories_;
  LimitReadback found_;
};

TEST_F(LimitReadbackTest, TheTightestCounts) {
  Write("top/mid/env/memory.max", "1073741824\n");
  Write("top/mid/memory.max", "max\n");
  EXPECT_FALSE(Check(LimitKind::kMemory, kGib));
  EXPECT_THAT(found_.tightest, Optional(1073741824.0));
  EXPECT_THAT(found_.readings,
              ElementsAre(Path("top/mid/env/memory.max") + ": 1073741824", Path("top/mid/memory.max") + ": max"));
}

TEST_F(LimitReadbackTest, APageOffIsRoundingAndMoreIsNot) {
  Write("top/mid/env/memory.max", "1073737728\n");
  EXPECT_FALSE(Check(LimitKind::kMemory, kGib));
  Write("top/mid/env/memory.max", "1073733632\n");
  const auto refusal = Check(LimitKind::kMemory, kGib);
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->place, HasSubstr("memory.max: 1073733632"));
}

TEST_F(LimitReadbackTest, ADiscardedLimitIsRefused) {
  Write("top/mid/env/memory.max", "max\n");
  const auto refusal = Check(LimitKind::kMemory, kGib);
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->cause, HasSubstr("'small' wants memory of 1 GiB, and the kernel made no limit of it"));
  EXPECT_THAT(refusal->ToText(), HasSubstr("(at " + Path("top/mid/env/memory.max") + ": max); try: "));
}

TEST_F(LimitReadbackTest, AMissingFileIsRefused) {
  const auto refusal = Check(LimitKind::kMemory, kGib);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->place, Path("top/mid/env/memory.max") + " is missing");
}

TEST_F(LimitReadbackTest, AnAncestorsSmallerLimitIsRefusedAndALargerOneIsNot) {
  Write("top/mid/env/memory.limit_in_bytes", "1073741824\n");
  Write("top/mid/memory.limit_in_bytes", "2147483648\n");
  Write("top/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_FALSE(Check(LimitKind::kMemory, kGib, 1));
  Write("top/memory.limit_in_bytes", "536870912\n");
  const auto refusal = Check(LimitKind::kMemory, kGib, 1);
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->cause, HasSubstr("wants memory of 1 GiB, and a cgroup above it allows only 512 MiB"));
  EXPECT_EQ(refusal->place, Path("top/memory.limit_in_bytes") + ": 536870912");
  EXPECT_THAT(found_.tightest, Optional(536870912.0));
  EXPECT_EQ(found_.readings.size(), 3U) << "all of them are told";
}

TEST_F(LimitReadbackTest, MalformedFilesAreRefusedWhereverTheyAre) {
  Write("top/mid/env/cpu.max", "100000 0\n");
  ASSERT_TRUE(Check(LimitKind::kProcessors, 1));
  EXPECT_THAT(Check(LimitKind::kProcessors, 1)->cause, HasSubstr("makes no sense"));
  Write("top/mid/env/cpu.max", "100000 100000\n");
  Write("top/mid/cpu.max", "soon\n");
  ASSERT_TRUE(Check(LimitKind::kProcessors, 1));
  EXPECT_EQ(Check(LimitKind::kProcessors, 1)->place, Path("top/mid/cpu.max") + ": soon");
}

TEST_F(LimitReadbackTest, QuotaAndPeriodOfVersion1AreOneReading) {
  Write("top/mid/env/cpu.cfs_quota_us", "50000\n");
  Write("top/mid/env/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(Check(LimitKind::kProcessors, 0.5, 1));
  EXPECT_THAT(found_.readings, ElementsAre(Path("top/mid/env/cpu.cfs_quota_us") + ": 50000 of 100000"));
  EXPECT_THAT(found_.tightest, Optional(0.5));
}

TEST_F(LimitReadbackTest, WeightsAreAmongNeighboursOnly) {
  Write("top/mid/env/cpu.weight", "50\n");
  Write("top/mid/cpu.weight", "1\n");
  EXPECT_FALSE(Check(LimitKind::kProcessorWeight, 50));
  EXPECT_TRUE(Check(LimitKind::kProcessorWeight, 51));
}

TEST_F(LimitReadbackTest, AThresholdAboveSlowsDownAsALimitDoes) {
  Write("top/mid/memory.high", "536870912\n");
  const auto refusal = CheckAncestors(LimitKind::kMemoryHigh, kGib, 2, "", "small", directories_, &found_);
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->place, HasSubstr("memory.high: 536870912"));
}

}  // namespace
}  // namespace ballast::environment
