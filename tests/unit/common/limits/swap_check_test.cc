#include "common/limits/swap_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::environment {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kGib = 1ULL << 30U;
const os::SwapArea kFile = {.name = "/swapfile", .size_bytes = 2 * kGib, .priority = -2, .zram = false};
const os::SwapArea kZram = {.name = "/dev/zram0", .size_bytes = kGib, .priority = 100, .zram = true};

class SwapCheckTest : public testing::Test {
 protected:
  std::optional<EnvironmentRefusal> Check(v1::SwapLimit::Kind kind, std::uint64_t size,
                                          const std::vector<os::SwapArea>& areas, bool limitable = true) {
    remarks_.clear();
    v1::SwapLimit wanted;
    wanted.set_kind(kind);
    wanted.set_size_bytes(size);
    return CheckSwap(wanted, areas, limitable, "/g/memory.swap.max", &remarks_);
  }

  std::vector<std::string> remarks_;
};

TEST_F(SwapCheckTest, NoneIsWhatCanBeLimited) {
  EXPECT_FALSE(Check(v1::SwapLimit::NONE, 0, {}));
  EXPECT_FALSE(Check(v1::SwapLimit::NONE, 0, {kFile}));
  const auto refusal = Check(v1::SwapLimit::NONE, 0, {kFile}, false);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->place, "/g/memory.swap.max is missing");
  EXPECT_THAT(refusal->next_step, HasSubstr("swapaccount=1"));
  EXPECT_FALSE(Check(v1::SwapLimit::NONE, 0, {}, false)) << "there is nothing to limit";
  EXPECT_THAT(remarks_, ElementsAre(HasSubstr("the device has none")));
}

TEST_F(SwapCheckTest, TheDeviceHasToHaveAsMuch) {
  EXPECT_FALSE(Check(v1::SwapLimit::DEVICE, 3 * kGib, {kFile, kZram}));
  EXPECT_THAT(remarks_, IsEmpty());
  const auto refusal = Check(v1::SwapLimit::DEVICE, 4 * kGib, {kFile, kZram});
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->cause, HasSubstr("wants 4 GiB of swap, and the device has 3 GiB"));
  EXPECT_TRUE(Check(v1::SwapLimit::DEVICE, kGib, {}));
  EXPECT_TRUE(Check(v1::SwapLimit::DEVICE, 0, {kFile})) << "how much is not said";
}

TEST_F(SwapCheckTest, TheHeaderOfAnAreaIsNotMissed) {
  os::SwapArea area = kFile;
  area.size_bytes -= 4096;
  EXPECT_FALSE(Check(v1::SwapLimit::DEVICE, 2 * kGib, {area}));
}

TEST_F(SwapCheckTest, CompressedMemoryIsWhatTheKernelSwapsToFirst) {
  EXPECT_FALSE(Check(v1::SwapLimit::ZRAM, kGib, {kZram}));
  EXPECT_FALSE(Check(v1::SwapLimit::ZRAM, kGib, {kZram, kFile}));
  EXPECT_THAT(remarks_, ElementsAre(HasSubstr("/swapfile")));
  EXPECT_TRUE(Check(v1::SwapLimit::ZRAM, kGib, {kFile}));
  EXPECT_TRUE(Check(v1::SwapLimit::ZRAM, 2 * kGib, {kZram, kFile}));
  os::SwapArea first = kFile;
  first.priority = 100;
  const auto refusal = Check(v1::SwapLimit::ZRAM, kGib, {kZram, first});
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->next_step, HasSubstr("swapoff /swapfile"));
}

}  // namespace
}  // namespace ballast::environment
