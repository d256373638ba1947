#include "worker/pressure/held_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "worker/pressure/page_block.h"

namespace ballast::pressure {
namespace {

using ::testing::ElementsAre;

constexpr std::size_t kMiB = 1U << 20U;

// The thread sanitizer writes four bytes of its own for each that the program writes, so resident bytes say nothing
// there.
#ifdef BALLAST_THREAD_SANITIZER
constexpr bool kCountsOwnMemoryOnly = false;
#else
constexpr bool kCountsOwnMemoryOnly = true;
#endif

// The kernel counts resident pages in batches of at most 64 on each processor.
std::uint64_t CountTolerance() {
  return static_cast<std::uint64_t>(::sysconf(_SC_NPROCESSORS_ONLN)) * 64 *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

v1::PageContent Content(v1::PageContent::Kind kind) {
  v1::PageContent content;
  content.set_kind(kind);
  content.set_compression_ratio(2);
  return content;
}

HeldMemoryOptions Options(v1::MemoryKind kind = v1::ANONYMOUS) {
  HeldMemoryOptions options;
  options.content = Content(v1::PageContent::RANDOM);
  options.kind = kind;
  // On a disk: a temporary directory may be kept in memory.
  options.scratch_dir = std::filesystem::current_path();
  return options;
}

std::unique_ptr<HeldMemory> Make(const HeldMemoryOptions& options = Options()) {
  auto memory = HeldMemory::Create(options);
  EXPECT_TRUE(memory.ok()) << memory.status();
  return *std::move(memory);
}

std::uint64_t Resident(HeldMemory& memory) {
  const auto resident = memory.ResidentBytes();
  EXPECT_TRUE(resident.ok()) << resident.status();
  return resident.value_or(0);
}

// Of the pages of all segments, those that mincore says are in memory.
std::size_t PagesInMemory(const HeldMemory& memory) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::size_t count = 0;
  for (const HeldMemory::Segment& segment : memory.segments()) {
    std::vector<unsigned char> states(segment.bytes / page);
    EXPECT_EQ(::mincore(segment.begin, segment.bytes, states.data()), 0);
    for (const unsigned char state : states) count += state & 1U;
  }
  return count;
}

// Kernel mappings that begin within a segment.
std::size_t MappingsWithin(const HeldMemory::Segment& segment) {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    const std::uintptr_t begin = std::stoull(line, nullptr, 16);
    const auto first = reinterpret_cast<std::uintptr_t>(segment.begin);
    if (begin >= first && begin < first + segment.bytes) ++count;
  }
  return count;
}

std::uint64_t StatusBytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key + ":")) return std::stoull(line.substr(key.size() + 1)) * 1024;
  }
  return 0;
}

// Of the one file of shared memory that this process has open.
std::uint64_t BytesOfSharedFile() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    struct stat status {};
    if (!std::filesystem::read_symlink(entry, gone).string().starts_with("/memfd:")) continue;
    if (::stat(entry.path().c_str(), &status) == 0) return static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  ADD_FAILURE() << "no shared memory";
  return 0;
}

struct Variant {
  v1::MemoryKind kind = v1::ANONYMOUS;
  v1::PageContent::Kind content = v1::PageContent::RANDOM;
  unsigned threads = 1;
  Populate populate = Populate::kBulk;
};

void PrintTo(const Variant& variant, std::ostream* out) {
  *out << v1::MemoryKind_Name(variant.kind) << ' ' << v1::PageContent::Kind_Name(variant.content) << ' '
       << variant.threads << " threads" << (variant.populate == Populate::kTouch ? ", touched" : "");
}

class HeldMemoryVariantTest : public ::testing::TestWithParam<Variant> {
 protected:
  static HeldMemoryOptions TestOptions() {
    HeldMemoryOptions options = Options(GetParam().kind);
    options.content = Content(GetParam().content);
    options.fill_threads = GetParam().threads;
    options.populate = GetParam().populate;
    return options;
  }
};

TEST_P(HeldMemoryVariantTest, EveryPageIsResident) {
  const auto memory = Make(TestOptions());
  const std::uint64_t before = Resident(*memory);
  ASSERT_TRUE(memory->Grow(100 * kMiB, {}).ok());
  EXPECT_EQ(memory->held_bytes(), 100 * kMiB);
  EXPECT_EQ(PagesInMemory(*memory), 100 * kMiB / static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
  if (!kCountsOwnMemoryOnly) GTEST_SKIP() << "resident bytes are the sanitizer's";
  EXPECT_NEAR(static_cast<double>(Resident(*memory) - before), 100.0 * kMiB, 1.0 * kMiB);
}

TEST_P(HeldMemoryVariantTest, PagesHaveTheirContentAndAreUnique) {
  const auto memory = Make(TestOptions());
  ASSERT_TRUE(memory->Grow(8 * kMiB, {}).ok());
  ASSERT_TRUE(memory->Grow(8 * kMiB, {}).ok());
  std::unordered_set<std::uint64_t> marks;
  std::vector<char> out(ZSTD_compressBound(kContentPageBytes));
  std::size_t pages = 0;
  std::size_t compressed = 0;
  for (const HeldMemory::Segment& segment : memory->segments()) {
    for (std::size_t offset = 0; offset < segment.bytes; offset += kContentPageBytes, ++pages) {
      std::uint64_t mark = 0;
      std::memcpy(&mark, segment.begin + offset, sizeof mark);
      marks.insert(mark);
      compressed += ZSTD_compress(out.data(), out.size(), segment.begin + offset, kContentPageBytes, 1);
    }
  }
  EXPECT_EQ(pages, 16 * kMiB / kContentPageBytes);
  const double ratio = 16.0 * kMiB / static_cast<double>(compressed);
  switch (GetParam().content) {
    case v1::PageContent::ZERO:
      EXPECT_EQ(marks.size(), 1U);
      EXPECT_GT(ratio, 100);
      break;
    case v1::PageContent::COMPRESSIBLE:
      EXPECT_EQ(marks.size(), pages);
      EXPECT_NEAR(ratio, 2, 0.3);
      break;
    default:
      EXPECT_EQ(marks.size(), pages);
      EXPECT_LT(ratio, 1.02);
      break;
  }
}

TEST_P(HeldMemoryVariantTest, ShrinkingReturnsThePages) {
  if (!kCountsOwnMemoryOnly) GTEST_SKIP() << "resident bytes are the sanitizer's";
  const auto memory = Make(TestOptions());
  const std::uint64_t before = Resident(*memory);
  ASSERT_TRUE(memory->Grow(64 * kMiB, {}).ok());
  memory->Shrink(24 * kMiB, [] {});
  EXPECT_EQ(memory->held_bytes(), 40 * kMiB);
  EXPECT_NEAR(static_cast<double>(Resident(*memory) - before), 40.0 * kMiB, static_cast<double>(CountTolerance()));
  memory->Shrink(1000 * kMiB, [] {});
  EXPECT_EQ(memory->held_bytes(), 0U);
  EXPECT_TRUE(memory->segments().empty());
  EXPECT_NEAR(static_cast<double>(Resident(*memory)), static_cast<double>(before),
              static_cast<double>(CountTolerance()));
}

// Whoever watches has to see that much memory is on its way back, and how much is left.
TEST_P(HeldMemoryVariantTest, ShrinkingGetsOnStepByStep) {
  const auto memory = Make(TestOptions());
  ASSERT_TRUE(memory->Grow(80 * kMiB, {}).ok());
  std::vector<std::size_t> left;
  std::vector<std::uint64_t> in_file;
  memory->Shrink(70 * kMiB, [&] {
    left.push_back(memory->held_bytes());
    if (GetParam().kind == v1::SHARED) in_file.push_back(BytesOfSharedFile());
  });
  EXPECT_THAT(left, ElementsAre(64 * kMiB, 48 * kMiB, 32 * kMiB, 16 * kMiB, 10 * kMiB));
  // What is not mapped any more and not given back either would be nobody's.
  for (std::size_t i = 0; i < in_file.size(); ++i) EXPECT_LE(in_file[i], left[i] + kMiB / 4);
}

TEST_P(HeldMemoryVariantTest, GrowingAndShrinkingInSmallPiecesStaysOneMapping) {
  const auto memory = Make(TestOptions());
  ASSERT_TRUE(memory->Grow(2 * kMiB, {}).ok());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(memory->Grow(60000, {}).ok());
    if (i % 3 == 0) memory->Shrink(30000, [] {});
  }
  EXPECT_EQ(memory->segments().size(), 1U);
  EXPECT_EQ(MappingsWithin(memory->segments()[0]), 1U);
  EXPECT_EQ(PagesInMemory(*memory) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), memory->held_bytes());
}

TEST_P(HeldMemoryVariantTest, AStopEndsTheFillAndKeepsWhatWasFilled) {
  const auto memory = Make(TestOptions());
  ASSERT_TRUE(memory->Grow(4 * kMiB, {}).ok());
  std::stop_source stop;
  const std::uint64_t resident = StatusBytes("VmRSS");
  const std::jthread stopper([&stop, resident] {
    while (StatusBytes("VmRSS") < resident + 8 * kMiB) std::this_thread::yield();
    stop.request_stop();
  });
  const absl::Status status = memory->Grow(256 * kMiB, stop.get_token());
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_GT(memory->held_bytes(), 4 * kMiB);
  EXPECT_LT(memory->held_bytes(), 260 * kMiB);
  EXPECT_EQ(PagesInMemory(*memory) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), memory->held_bytes());
  // What was not filled is not in the way.
  ASSERT_TRUE(memory->Grow(4 * kMiB, {}).ok());
  EXPECT_EQ(PagesInMemory(*memory) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), memory->held_bytes());
}

INSTANTIATE_TEST_SUITE_P(
    All, HeldMemoryVariantTest,
    ::testing::Values(Variant{}, Variant{.content = v1::PageContent::ZERO},
                      Variant{.content = v1::PageContent::COMPRESSIBLE, .threads = 2}, Variant{.threads = 3},
                      Variant{.populate = Populate::kTouch}, Variant{.kind = v1::SHARED},
                      Variant{.kind = v1::SHARED, .threads = 2}, Variant{.kind = v1::FILE_CACHE},
                      Variant{.kind = v1::FILE_CACHE, .content = v1::PageContent::COMPRESSIBLE, .threads = 2},
                      Variant{.kind = v1::FILE_CACHE, .populate = Populate::kTouch}));

TEST(HeldMemoryTest, TwoHoldersShareNoPage) {
  const auto first = Make();
  const auto second = Make();
  ASSERT_TRUE(first->Grow(kMiB, {}).ok());
  ASSERT_TRUE(second->Grow(kMiB, {}).ok());
  EXPECT_NE(std::memcmp(first->segments()[0].begin, second->segments()[0].begin, kContentPageBytes), 0);
}

TEST(HeldMemoryTest, RoundsUpToWholePages) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto memory = Make();
  ASSERT_TRUE(memory->Grow(1, {}).ok());
  EXPECT_EQ(memory->held_bytes(), page);
  ASSERT_TRUE(memory->Grow(page + 1, {}).ok());
  EXPECT_EQ(memory->held_bytes(), 3 * page);
  memory->Shrink(1, [] {});
  EXPECT_EQ(memory->held_bytes(), 2 * page);
  EXPECT_TRUE(memory->Grow(0, {}).ok());
  EXPECT_EQ(memory->held_bytes(), 2 * page);
}

TEST(HeldMemoryTest, DestructionUnmaps) {
  if (!kCountsOwnMemoryOnly) GTEST_SKIP() << "resident bytes are the sanitizer's";
  const auto probe = Make();
  const std::uint64_t before = Resident(*probe);
  ASSERT_TRUE(Make()->Grow(32 * kMiB, {}).ok());
  EXPECT_NEAR(static_cast<double>(Resident(*probe)), static_cast<double>(before),
              static_cast<double>(CountTolerance()) + 256.0 * 1024);
}

// Where somebody else has taken the addresses behind what is held.
TEST(HeldMemoryTest, GoesOnElsewhereWhenTheNextAddressIsTaken) {
  const auto memory = Make();
  ASSERT_TRUE(memory->Grow(kMiB, {}).ok());
  std::byte* const end = memory->segments()[0].begin + kMiB;
  void* const other = ::mmap(end, kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_EQ(other, end);
  ASSERT_TRUE(memory->Grow(kMiB, {}).ok());
  EXPECT_EQ(memory->segments().size(), 2U);
  EXPECT_EQ(*static_cast<char*>(other), 0);
  memory->Shrink(kMiB + kMiB / 2, [] {});
  EXPECT_EQ(memory->held_bytes(), kMiB / 2);
  ::munmap(other, kMiB);
}

TEST(HeldMemoryTest, SizesBeyondAnyAddressSpaceAreRefused) {
  const auto memory = Make();
  EXPECT_EQ(memory->Grow(SIZE_MAX, {}).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(memory->Grow(std::size_t{1} << 60U, {}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(memory->held_bytes(), 0U);
}

class HeldMemoryLockTest : public ::testing::TestWithParam<v1::MemoryKind> {};

TEST_P(HeldMemoryLockTest, LocksEveryPage) {
  HeldMemoryOptions options = Options(GetParam());
  options.lock = true;
  const auto memory = Make(options);
  const std::uint64_t before = StatusBytes("VmLck");
  const absl::Status grown = memory->Grow(16 * kMiB, {});
  if (absl::IsResourceExhausted(grown)) GTEST_SKIP() << grown;
  ASSERT_TRUE(grown.ok()) << grown;
  EXPECT_EQ(StatusBytes("VmLck") - before, 16 * kMiB);
  EXPECT_EQ(PagesInMemory(*memory) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), 16 * kMiB);
  // The kernel itself refuses to drop locked pages.
  EXPECT_NE(::madvise(memory->segments()[0].begin, 16 * kMiB, MADV_DONTNEED), 0);
  memory->Shrink(12 * kMiB, [] {});
  EXPECT_EQ(StatusBytes("VmLck") - before, 4 * kMiB);
}

INSTANTIATE_TEST_SUITE_P(Kinds, HeldMemoryLockTest, ::testing::Values(v1::ANONYMOUS, v1::SHARED, v1::FILE_CACHE),
                         [](const auto& kind) { return v1::MemoryKind_Name(kind.param); });

// In a process of its own, because rights and limits are lost for good.
TEST(HeldMemoryLockDeathTest, ARefusedLockSaysWhatToDo) {
  EXPECT_EXIT(
      {
        HeldMemoryOptions options = Options();
        options.lock = true;
        const auto memory = Make(options);
        rlimit limit{};
        limit.rlim_cur = 2 * kMiB;
        limit.rlim_max = 2 * kMiB;
        if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0) std::_Exit(1);
        if (::geteuid() == 0 && ::seteuid(65534) != 0) std::_Exit(2);  // without CAP_IPC_LOCK
        if (!memory->Grow(kMiB, {}).ok()) std::_Exit(3);
        const absl::Status refused = memory->Grow(8 * kMiB, {});
        if (refused.code() != absl::StatusCode::kResourceExhausted) std::_Exit(4);
        const std::string message(refused.message());
        if (message.find("RLIMIT_MEMLOCK is 2 MiB") == std::string::npos) std::_Exit(5);
        if (message.find("CAP_IPC_LOCK") == std::string::npos) std::_Exit(6);
        std::_Exit(memory->held_bytes() == kMiB ? 0 : 7);
      },
      ::testing::ExitedWithCode(0), "");
}

#if !defined(__SANITIZE_ADDRESS__) && \
    !defined(BALLAST_THREAD_SANITIZER)  // sanitizers need the address space themselves
// In a process of its own, because the limit stays.
TEST(HeldMemoryDeathTest, ARefusalOfTheKernelKeepsWhatIsHeld) {
  EXPECT_EXIT(
      {
        const auto memory = Make();
        rlimit limit{};
        limit.rlim_cur = 512 * kMiB;
        limit.rlim_max = 512 * kMiB;
        if (::setrlimit(RLIMIT_AS, &limit) != 0) std::_Exit(1);
        if (!memory->Grow(64 * kMiB, {}).ok()) std::_Exit(2);
        const absl::Status refused = memory->Grow(512 * kMiB, {});
        if (refused.code() != absl::StatusCode::kResourceExhausted) std::_Exit(3);
        if (memory->held_bytes() != 64 * kMiB) std::_Exit(4);
        if (!memory->Grow(16 * kMiB, {}).ok()) std::_Exit(5);
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}
#endif

}  // namespace
}  // namespace ballast::pressure
