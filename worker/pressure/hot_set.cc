#include "worker/pressure/hot_set.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <system_error>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "worker/pressure/pacer.h"
#include "worker/pressure/page_block.h"

namespace ballast::pressure {
namespace {

using std::chrono::nanoseconds;

// Pages are touched in batches this far apart: a hundredth of a second's worth is no burst, and waking up costs little.
constexpr nanoseconds kBatchPeriod = std::chrono::milliseconds(10);
constexpr int kLeastBatches = 10;   // in an interval
constexpr double kMostBatches = 2;  // at once, at random

// A round of so many pages does not go on when there are more by this share: while memory grows all of it is touched,
// not the little that there was in the beginning.
constexpr std::uint64_t kOutgrownShare = 16;
constexpr nanoseconds kLongestWait = std::chrono::milliseconds(100);  // until that is looked for

// A round that takes longer than its interval by more than a tenth, and by more than the wake-ups of a busy machine
// explain, has fallen behind.
constexpr double kLateShare = 1.1;
constexpr nanoseconds kLateTime = std::chrono::milliseconds(20);

std::size_t PageBytes() {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

nanoseconds Now() {
  return base::RealClock().Monotonic();
}

void TouchPage(std::byte* page, HotSet::Touch touch) {
  auto* const word = reinterpret_cast<volatile std::uint64_t*>(page);
  const std::uint64_t value = *word;
  if (touch == HotSet::Touch::kWrite) *word = value;
}

}  // namespace

std::uint64_t HotSetReport::shortfall_bytes() const {
  if (last_round < kLateShare * interval || last_round < interval + kLateTime) return 0;
  const double in_time = static_cast<double>(interval.count()) / static_cast<double>(last_round.count());
  return static_cast<std::uint64_t>(static_cast<double>(hot_bytes) * (1 - in_time));
}

absl::StatusOr<std::unique_ptr<HotSet>> HotSet::Start(const v1::HotSet& settings, Touch touch, Order order) {
  std::unique_ptr<HotSet> hot_set(new HotSet(settings, touch, order));
  try {
    hot_set->thread_ = std::jthread([self = hot_set.get()](const std::stop_token& stop) { self->Work(stop); });
  } catch (const std::system_error& error) {  // the only way in which the library tells
    return absl::ResourceExhaustedError(fmt::format(
        "start the thread that touches the hot set: {}; raise the limit of tasks (ulimit -u, pids.max)", error.what()));
  }
  return hot_set;
}

HotSet::HotSet(const v1::HotSet& settings, Touch touch, Order order)
    : share_(settings.percent() / 100),
      interval_(std::max(base::FromProto(settings.interval()), nanoseconds(std::chrono::milliseconds(1)))),
      touch_(touch),
      order_(order),
      key_(MixWord(static_cast<std::uint64_t>(Now().count()))) {}

HotSet::~HotSet() {
  SetPages({});
}

void HotSet::SetPages(const std::vector<HeldMemory::Segment>& segments) {
  ++waiting_;
  {
    const std::lock_guard lock(mutex_);
    --waiting_;
    segments_ = segments;
    std::uint64_t pages = 0;
    for (const HeldMemory::Segment& segment : segments_) pages += segment.bytes / PageBytes();
    hot_pages_ = std::min(pages, static_cast<std::uint64_t>(std::ceil(share_ * static_cast<double>(pages))));
  }
  changed_.notify_all();
}

HotSetReport HotSet::report() const {
  HotSetReport report;
  report.hot_bytes = round_pages_ * PageBytes();
  report.touched_pages = touched_pages_;
  report.rounds = rounds_;
  report.interval = interval_;
  report.last_round = last_round_;
  const nanoseconds begin = round_begin_;
  if (begin.count() > 0) report.last_round = std::max(report.last_round, Now() - begin);
  report.longest_round = std::max(longest_round_.load(), report.last_round);
  return report;
}

void HotSet::Work(const std::stop_token& stop) {
  MachinePacer pacer;
  nanoseconds begin{0};
  while (true) {
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [this] { return hot_pages_ > 0; })) return;
    }
    // Rounds begin on a grid, so that each page comes once in an interval; after a late one there is a new grid.
    begin += interval_.load();
    if (Now() - begin > kLateTime) begin = Now();
    const RoundEnd end = CarryOutRound(stop, begin);
    if (end == RoundEnd::kStopped) return;
    // At random a round has no meaning but that as many pages were touched.
    if (end == RoundEnd::kOutgrown || order_ == Order::kAtRandom) {
      begin = nanoseconds(0);
      continue;
    }
    if (!pacer.WaitUntil(begin + interval_.load(), stop)) return;
  }
}

HotSet::RoundEnd HotSet::CarryOutRound(const std::stop_token& stop, nanoseconds begin) {
  const auto hot_pages = [this] {
    const std::lock_guard lock(mutex_);
    return hot_pages_;
  };
  const std::uint64_t pages = hot_pages();
  if (pages == 0) return RoundEnd::kComplete;
  round_pages_ = pages;
  round_begin_ = begin;
  MachinePacer pacer;
  const std::uint64_t round_key = MixWord(key_ + rounds_);
  const PagePermutation order(pages, round_key);
  std::uint64_t place = 0;
  double due = 0;
  nanoseconds counted = begin;
  while (place < pages) {
    if (hot_pages() > pages + pages / kOutgrownShare) {
      round_begin_ = nanoseconds(0);
      return RoundEnd::kOutgrown;
    }
    const nanoseconds interval = interval_;
    const nanoseconds period = std::min(kBatchPeriod, interval / kLeastBatches);
    const double per_nanosecond = static_cast<double>(pages) / static_cast<double>(interval.count());
    const nanoseconds now = Now();
    due += per_nanosecond * static_cast<double>((now - counted).count());
    counted = now;
    bool touched = false;
    if (order_ == Order::kAtRandom) {
      const double most = per_nanosecond * static_cast<double>(period.count()) * kMostBatches + 1;
      due = std::min(due, static_cast<double>(place) + most);
      touched = TouchUpTo([&](std::uint64_t number) { return MixWord(round_key + number) % pages; },
                          std::min(static_cast<std::uint64_t>(due), pages), &place, stop);
    } else {
      touched = TouchUpTo([&](std::uint64_t number) { return order.At(number); },
                          std::min(static_cast<std::uint64_t>(due), pages), &place, stop);
    }
    if (!touched) return RoundEnd::kStopped;
    if (place == pages) break;
    const double missing = std::max(static_cast<double>(place + 1) - due, 0.0);
    const nanoseconds next_due(std::min<std::int64_t>(static_cast<std::int64_t>(std::ceil(missing / per_nanosecond)),
                                                      nanoseconds(kLongestWait).count()));
    if (!pacer.WaitUntil(std::max(Now() + period, counted + next_due), stop)) return RoundEnd::kStopped;
  }
  const nanoseconds taken = Now() - begin;
  last_round_ = taken;
  longest_round_ = std::max(longest_round_.load(), taken);
  round_begin_ = nanoseconds(0);
  ++rounds_;
  return RoundEnd::kComplete;
}

template <typename PageOf>
bool HotSet::TouchUpTo(const PageOf& page_of, std::uint64_t end, std::uint64_t* place, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (; *place < end; ++*place) {
    if (stop.stop_requested()) return false;
    if (waiting_ > 0 && !changed_.wait(lock, stop, [this] { return waiting_ == 0; })) return false;
    const std::uint64_t number = page_of(*place);
    if (number >= hot_pages_) continue;  // given back meanwhile
    TouchPage(PageAt(number), touch_);
    touched_pages_.store(touched_pages_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  return true;
}

std::byte* HotSet::PageAt(std::uint64_t number) const {
  std::size_t offset = number * PageBytes();
  auto segment = segments_.begin();  // mostly there is one
  while (offset >= segment->bytes) {
    offset -= segment->bytes;
    ++segment;
  }
  return segment->begin + offset;
}

}  // namespace ballast::pressure
