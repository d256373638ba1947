#include "worker/pressure/hot_set.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <future>
#include <optional>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "common/base/fd.h"

namespace ballast::pressure {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

std::size_t PageBytes() {
  return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// Pages that are not there until they are touched, so that it shows which were.
class UntouchedPages {
 public:
  explicit UntouchedPages(std::size_t count)
      : bytes_(count * PageBytes()),
        begin_(static_cast<std::byte*>(
            ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    ::madvise(begin_, bytes_, MADV_NOHUGEPAGE);
  }
  UntouchedPages(const UntouchedPages&) = delete;
  UntouchedPages& operator=(const UntouchedPages&) = delete;
  ~UntouchedPages() { ::munmap(begin_, bytes_); }

  [[nodiscard]] std::byte* begin() const { return begin_; }
  [[nodiscard]] HeldMemory::Segment Part(std::size_t first, std::size_t count) const {
    return {.begin = begin_ + first * PageBytes(), .bytes = count * PageBytes()};
  }
  [[nodiscard]] std::size_t Touched(std::size_t first, std::size_t count) const {
    std::vector<unsigned char> states(count);
    EXPECT_EQ(::mincore(begin_ + first * PageBytes(), count * PageBytes(), states.data()), 0);
    std::size_t touched = 0;
    for (const unsigned char state : states) touched += state & 1U;
    return touched;
  }

 private:
  std::size_t bytes_;
  std::byte* begin_;
};

std::unique_ptr<HotSet> Start(double percent, nanoseconds interval, HotSet::Touch touch = HotSet::Touch::kWrite) {
  v1::HotSet settings;
  settings.set_percent(percent);
  *settings.mutable_interval() = base::ToProto(interval);
  auto hot_set = HotSet::Start(settings, touch);
  EXPECT_TRUE(hot_set.ok()) << hot_set.status();
  return *std::move(hot_set);
}

bool Await(const std::function<bool()>& condition) {
  const auto deadline = base::RealClock().Monotonic() + seconds(30);
  while (base::RealClock().Monotonic() < deadline) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return false;
}

class HotSetTouchTest : public ::testing::TestWithParam<HotSet::Touch> {};

TEST_P(HotSetTouchTest, TouchesTheShareThatWasFilledFirstAndKeepsWhatItContains) {
  const UntouchedPages pages(1000);
  std::memset(pages.begin() + 400 * PageBytes(), 'x', 10 * PageBytes());
  const auto hot_set = Start(25, milliseconds(100), GetParam());
  // Filled first is what lies behind.
  hot_set->SetPages({pages.Part(400, 100), pages.Part(0, 300)});
  ASSERT_TRUE(Await([&] { return hot_set->report().rounds >= 2; }));
  hot_set->SetPages({});
  EXPECT_EQ(pages.Touched(400, 100), 100U) << "a quarter of 400 pages is the first segment";
  EXPECT_EQ(pages.Touched(0, 400), 0U);
  EXPECT_EQ(pages.Touched(500, 500), 0U);
  EXPECT_EQ(static_cast<char>(pages.begin()[400 * PageBytes()]), 'x');
}

INSTANTIATE_TEST_SUITE_P(Ways, HotSetTouchTest, ::testing::Values(HotSet::Touch::kRead, HotSet::Touch::kWrite));

TEST(HotSetTest, TouchesEachPageOnceInAnInterval) {
  const UntouchedPages pages(512);
  std::memset(pages.begin(), 1, 512 * PageBytes());
  const auto hot_set = Start(100, milliseconds(200));
  const nanoseconds begun = base::RealClock().Monotonic();
  hot_set->SetPages({pages.Part(0, 512)});
  ASSERT_TRUE(Await([&] { return hot_set->report().rounds >= 3; }));
  const nanoseconds taken = base::RealClock().Monotonic() - begun;
  hot_set->SetPages({});
  const HotSetReport report = hot_set->report();
  EXPECT_GE(taken, milliseconds(590));
  EXPECT_GE(report.longest_round, milliseconds(200));
  EXPECT_GE(report.touched_pages, 3 * 512U);
  EXPECT_LE(report.touched_pages, (report.rounds + 1) * 512);
  EXPECT_EQ(report.hot_bytes, 512 * PageBytes());
}

TEST(HotSetTest, PagesThatComeLaterTakePart) {
  const UntouchedPages pages(400);
  const auto hot_set = Start(100, milliseconds(50));
  hot_set->SetPages({pages.Part(0, 100)});
  ASSERT_TRUE(Await([&] { return pages.Touched(0, 100) == 100; }));
  hot_set->SetPages({pages.Part(0, 400)});
  EXPECT_TRUE(Await([&] { return pages.Touched(0, 400) == 400; }));
}

// While memory grows the first round is of the little that there was in the beginning.
TEST(HotSetTest, ManyThatComeWithinARoundTakePartAtOnce) {
  const UntouchedPages pages(40000);
  const auto hot_set = Start(100, std::chrono::minutes(2));
  hot_set->SetPages({pages.Part(0, 10)});
  ASSERT_TRUE(Await([&] { return hot_set->report().hot_bytes == 10 * PageBytes(); }));
  hot_set->SetPages({pages.Part(0, 40000)});
  EXPECT_TRUE(Await([&] { return pages.Touched(0, 40000) > 1000; })) << pages.Touched(0, 40000);
  EXPECT_EQ(hot_set->report().hot_bytes, 40000 * PageBytes());
  EXPECT_EQ(hot_set->report().rounds, 0U);
  EXPECT_EQ(hot_set->report().shortfall_bytes(), 0U);
}

TEST(HotSetReportTest, TellsWhatIsNotTouchedInTime) {
  HotSetReport report;
  report.hot_bytes = 1000;
  report.interval = seconds(1);
  report.last_round = milliseconds(1090);
  EXPECT_EQ(report.shortfall_bytes(), 0U);
  report.last_round = seconds(4);
  EXPECT_EQ(report.shortfall_bytes(), 750U);
  // The wake-ups of a busy machine are no reason.
  report.interval = milliseconds(50);
  report.last_round = milliseconds(65);
  EXPECT_EQ(report.shortfall_bytes(), 0U);
}

// Pages whose first touch waits until the test lets it go on, as that of a page that is swapped out waits for the disk.
class SlowPages {
 public:
  explicit SlowPages(std::size_t count) : pages_(count) {
    fd_.Reset(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY)));
    uffdio_api api{};
    api.api = UFFD_API;
    uffdio_register range{};
    const HeldMemory::Segment all = pages_.Part(0, count);
    range.range.start = reinterpret_cast<std::uintptr_t>(all.begin);
    range.range.len = all.bytes;
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    works_ =
        fd_.valid() && ::ioctl(fd_.get(), UFFDIO_API, &api) == 0 && ::ioctl(fd_.get(), UFFDIO_REGISTER, &range) == 0;
  }
  [[nodiscard]] bool works() const { return works_; }
  [[nodiscard]] const UntouchedPages& pages() const { return pages_; }

  // The page of the next touch; nothing where there is none in time.
  [[nodiscard]] std::optional<std::uintptr_t> NextTouch(milliseconds patience) const {
    pollfd entry{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&entry, 1, static_cast<int>(patience.count())) != 1 || entry.revents != POLLIN) return std::nullopt;
    uffd_msg message{};
    EXPECT_EQ(::read(fd_.get(), &message, sizeof message), static_cast<ssize_t>(sizeof message));
    return message.arg.pagefault.address / PageBytes() * PageBytes();
  }
  void LetGo(std::uintptr_t page) const {
    uffdio_zeropage zero{};
    zero.range.start = page;
    zero.range.len = PageBytes();
    EXPECT_EQ(::ioctl(fd_.get(), UFFDIO_ZEROPAGE, &zero), 0);
  }

 private:
  UntouchedPages pages_;
  base::Fd fd_;
  bool works_ = false;
};

TEST(HotSetTest, NobodyWaitsForMoreThanOneTouch) {
  const SlowPages slow(1000);
  if (!slow.works()) GTEST_SKIP() << "no userfaultfd";
  const auto hot_set = Start(100, milliseconds(50));
  hot_set->SetPages({slow.pages().Part(0, 1000)});
  std::optional<std::uintptr_t> touched = slow.NextTouch(seconds(30));
  ASSERT_TRUE(touched.has_value());
  // By now the whole round is due, and the first page has not come.
  ASSERT_TRUE(Await([&] { return hot_set->report().shortfall_bytes() > 0; })) << "telling does not wait";
  EXPECT_EQ(hot_set->report().rounds, 0U);
  auto shrunk = std::async(std::launch::async, [&] { hot_set->SetPages({}); });
  // Each touch is let go only when giving back has had its chance. On a busy machine it may come a few touches late.
  while (shrunk.wait_for(milliseconds(20)) != std::future_status::ready) {
    if (touched) slow.LetGo(*touched);
    touched = slow.NextTouch(milliseconds(20));
  }
  EXPECT_LE(slow.pages().Touched(0, 1000), 20U);
}

}  // namespace
}  // namespace ballast::pressure
