// The decision of the loop that holds a stall: how much to move, given what stalled lately. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace ballast::pressure {

// What the loop sees at one look.
struct StallLook {
  std::chrono::nanoseconds time{0};
  std::uint64_t stalled_us = 0;       // the kernel's total
  std::uint64_t limit_bytes = 0;      // that percentages refer to
  std::uint64_t available_bytes = 0;  // without swapping
  std::uint64_t left_bytes = 0;       // until the floor, free swap counted
  std::uint64_t held_bytes = 0;
  std::uint64_t swapped_bytes = 0;         // what went out to swap since the load began
  std::chrono::nanoseconds touch_time{0};  // in which held memory is touched once, where it is
};

// One move.
struct StallMove {
  std::int64_t bytes = 0;   // to allocate, or (negative) to give back
  bool look_again = false;  // at once: the stall is far away. Otherwise after StallControl::kPeriod
  bool at_floor = false;    // it would have allocated, but nothing is left
};

// Moves memory so that tasks stall for a wanted share of time. What a byte does to the stall differs between devices by
// a factor of a thousand, shows after a while only, and is nothing at all until memory is full. So there are three
// stages:
//
// - far: memory is available, nothing stalls. It is filled as fast as the device can.
// - near: growth is slow at first and doubles while nothing answers, but always leaves nine tenths of what is left for
//   the next ten seconds. So a cliff is approached ever more slowly, and the rate at which the stall was met says on
//   which scale of bytes it lives: the span.
// - holding: proportional and integral control, scaled by the span: by how many bytes makes about the wanted stall. A
//   target that stays away makes the span larger, swinging around it makes it smaller. A stall far above the target is
//   answered at once.
//
// The kernel swaps out in pieces of some ten megabytes, so a stall that lives on a scale of less cannot be held by
// moving memory. Where the pace of touching is free to choose, the span is kept within bounds instead: a stall that is
// too steep is made flatter by touching more slowly, one that stays away steeper by touching faster. At another pace
// the same missing pages make another stall, so what is missing is changed with it.
//
// Not thread-safe.
class StallControl {
 public:
  // How often to look while the stall is near.
  static constexpr std::chrono::nanoseconds kPeriod = std::chrono::milliseconds(100);

  // The first pace at which held memory is to be touched, where it is free to choose.
  static constexpr std::chrono::nanoseconds kFirstTouchInterval = std::chrono::seconds(15);

  // `paces`: touch_interval() is obeyed. `page_bytes` is the size of the kernel's pages, of which moves are whole
  // numbers.
  StallControl(double target_percent, bool paces, std::uint64_t page_bytes);

  // What to move now. The first look only begins.
  [[nodiscard]] StallMove Next(const StallLook& look);

  // Stall of about the last response time, in percent.
  [[nodiscard]] double stall_percent() const { return slow_percent_; }
  // Whether the stall is about what is wanted.
  [[nodiscard]] bool reached() const;
  // How long touching everything once should take.
  [[nodiscard]] std::chrono::nanoseconds touch_interval() const;
  // How close counts as reached: 5 points, or a quarter of a small target.
  [[nodiscard]] double tolerance_percent() const;

 private:
  enum class Stage { kFar, kNear, kHolding };

  void Measure(const StallLook& look);
  StallMove MoveFar(const StallLook& look);
  double MoveNear(const StallLook& look, double seconds);
  double MoveHolding(const StallLook& look, double seconds);
  void BeginHolding(const StallLook& look);
  void AdaptSpan(const StallLook& look, double error, double seconds);
  // Keeps the span within its bounds.
  void BoundSpan(const StallLook& look);
  void SetPace(double touch_interval_s, const StallLook& look);

  const double target_percent_;
  const bool paces_;
  const double page_bytes_;
  double touch_interval_s_;
  // How long a move takes to show. What was moved is felt when it is touched; and the kernel swaps in bursts, over
  // which the measure has to go.
  double response_s_;

  Stage stage_ = Stage::kFar;
  std::optional<StallLook> last_;     // of the last measure
  double fast_percent_ = 0;           // over a third of the response time
  double slow_percent_ = 0;           // over the response time
  double slow_before_percent_ = 0;    // at the last move
  double rate_bytes_per_second_ = 0;  // of growth while near
  double span_bytes_ = 0;             // that make about the wanted stall
  double unmoved_bytes_ = 0;          // too little for a page so far
  double owed_bytes_ = 0;             // what the last change of pace asks for, still to be moved
  double away_s_ = 0;                 // how long the error has had one sign and been large
  int side_ = 0;                      // of the target: the last on which the error was large
  double since_crossing_s_ = 0;
  double since_relief_s_ = 1e9;
  double moved_bytes_ = 0;      // lately, each move counted as one up
  double net_moved_bytes_ = 0;  // lately, what is left of them
  double quiet_s_ = 0;          // how long nothing has stalled
};

}  // namespace ballast::pressure
