// Pages that are touched again and again.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"
#include "worker/pressure/held_memory.h"
#include "worker/pressure/page_permutation.h"

namespace ballast::pressure {

// What a hot set has done. A round touches each hot page once.
struct HotSetReport {
  std::uint64_t hot_bytes = 0;  // of the present round
  std::uint64_t touched_pages = 0;
  std::uint64_t rounds = 0;                // complete
  std::chrono::nanoseconds interval{0};    // as asked
  std::chrono::nanoseconds last_round{0};  // how long the last round took, or the present one if that is longer by now
  std::chrono::nanoseconds longest_round{0};

  // Bytes that the last round did not touch within the interval; 0 while it keeps up (within a tenth).
  [[nodiscard]] std::uint64_t shortfall_bytes() const;
};

// Touches a share of the held pages on a thread of its own, each page once in an interval, evenly spread over the
// interval. The order has no pattern and is another one in each round, so that the longer ago a page was touched the
// likelier it comes next, and what does not fit is missed in proportion. (Touched in the same order each time, the page
// that the kernel drops is the very one that is needed next: everything is missed as soon as anything is.)
//
// At random it is the rate of touches that is kept, not the round: each touch is of any page, as likely as every other,
// and what was not touched in time because touching waited for the disk is left out. So a share of the touches misses
// that is the share of pages that do not fit, at every time, and a device that stalls is not touched the harder for it.
//
// Hot are those pages that were filled first. Where touching waits for the disk the round takes longer than the
// interval, and the next begins at once.
//
// Thread-safe.
class HotSet {
 public:
  enum class Touch {
    kRead,   // keeps a page referenced
    kWrite,  // the same, and makes it dirty, as programs do with their heap: a page that was swapped out and came back
             // has to be written again to leave. What it contains stays.
  };

  enum class Order {
    kEachOnce,  // in an interval
    kAtRandom,  // as many touches as there are pages, in an interval
  };

  // RESOURCE_EXHAUSTED when the thread is refused.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<HotSet>> Start(const v1::HotSet& settings, Touch touch,
                                                                     Order order = Order::kEachOnce);
  HotSet(const HotSet&) = delete;
  HotSet& operator=(const HotSet&) = delete;
  // Waits for at most one touch.
  ~HotSet();

  // What is held from now on, in the order in which it was filled; parts of pages do not count. When this returns no
  // other page is touched any more; waits for at most one touch, however many are due. Pages that are new take part
  // from the next round on; where they are many, that is at once.
  void SetPages(const std::vector<HeldMemory::Segment>& segments);

  // From now on, also within a round. Does not wait.
  void SetInterval(std::chrono::nanoseconds interval) { interval_ = interval; }

  // Does not wait.
  [[nodiscard]] HotSetReport report() const;

 private:
  HotSet(const v1::HotSet& settings, Touch touch, Order order);

  void Work(const std::stop_token& stop);
  enum class RoundEnd {
    kComplete,
    kOutgrown,  // there are many more pages by now
    kStopped,
  };
  RoundEnd CarryOutRound(const std::stop_token& stop, std::chrono::nanoseconds begin);
  // Touches the pages at places below `end`.
  template <typename PageOf>
  bool TouchUpTo(const PageOf& page_of, std::uint64_t end, std::uint64_t* place, const std::stop_token& stop);
  [[nodiscard]] std::byte* PageAt(std::uint64_t number) const;  // with the lock

  const double share_;
  std::atomic<std::chrono::nanoseconds> interval_;
  const Touch touch_;
  const Order order_;
  const std::uint64_t key_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::atomic<int> waiting_ = 0;  // callers that want the lock: the thread would take it again before they wake up
  std::vector<HeldMemory::Segment> segments_;
  std::uint64_t hot_pages_ = 0;

  // Written by the thread alone; without the lock, because a reader must not wait for a touch.
  std::atomic<std::uint64_t> round_pages_ = 0;
  std::atomic<std::uint64_t> touched_pages_ = 0;
  std::atomic<std::uint64_t> rounds_ = 0;
  std::atomic<std::chrono::nanoseconds> last_round_{std::chrono::nanoseconds(0)};
  std::atomic<std::chrono::nanoseconds> longest_round_{std::chrono::nanoseconds(0)};
  std::atomic<std::chrono::nanoseconds> round_begin_{std::chrono::nanoseconds(0)};  // 0 between rounds

  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace ballast::pressure
