#include "worker/pressure/file_cache_gauge.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <filesystem>

namespace ballast::pressure {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;

// A machine whose memory does not change, so that all that changes is what is held.
class StillGauge final : public os::MemoryGauge {
 public:
  absl::StatusOr<os::MemoryReading> Read() override {
    return os::MemoryReading{.limit_bytes = 4096 * kMiB,
                             .available_bytes = 3000 * kMiB,
                             .headroom_bytes = 3000 * kMiB,
                             .file_bytes = 1000 * kMiB,
                             .available_file_bytes = 1000 * kMiB};
  }
  [[nodiscard]] const std::string& limit_source() const override { return source_; }

 private:
  std::string source_ = "machine";
};

TEST(FileCacheGaugeTest, CountsHeldPagesUntilTheKernelDropsThem) {
  HeldMemoryOptions options;
  options.content.set_kind(v1::PageContent::RANDOM);
  options.kind = v1::FILE_CACHE;
  options.scratch_dir = std::filesystem::current_path();
  auto memory = HeldMemory::Create(options);
  ASSERT_TRUE(memory.ok()) << memory.status();
  FileCacheGauge gauge(std::make_unique<StillGauge>(), memory->get());
  const auto used = [&gauge] {
    const auto reading = gauge.Read();
    EXPECT_TRUE(reading.ok()) << reading.status();
    return static_cast<double>(reading.value_or(os::MemoryReading{}).used_bytes()) / kMiB;
  };
  EXPECT_NEAR(used(), 1096, 2);
  ASSERT_TRUE((*memory)->Grow(64 * kMiB, {}).ok());
  EXPECT_NEAR(used(), 1160, 2);
  // What the kernel does when memory is short; only clean pages can be dropped so.
  const HeldMemory::Segment held = (*memory)->segments()[0];
  if (::madvise(held.begin, held.bytes / 2, MADV_PAGEOUT) != 0) GTEST_SKIP() << "a kernel without MADV_PAGEOUT";
  EXPECT_NEAR(used(), 1128, 4);
  (*memory)->Shrink(64 * kMiB, [] {});
  EXPECT_NEAR(used(), 1096, 2);
}

}  // namespace
}  // namespace ballast::pressure
