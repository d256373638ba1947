// A machine that exists in numbers only: memory, what other processes use of it, and time that passes when something
// takes time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "ballast/v1/telemetry.pb.h"
#include "common/base/clock.h"
#include "common/os/memory_gauge.h"
#include "common/os/memory_stall.h"
#include "worker/pressure/engine_requests.h"
#include "worker/pressure/pacer.h"
#include "worker/pressure/pressure_memory.h"
#include "worker/pressure/run_log.h"

namespace ballast::pressure {

inline constexpr std::uint64_t kKiB = 1U << 10U;
inline constexpr std::uint64_t kMiB = 1U << 20U;
inline constexpr std::uint64_t kGiB = 1U << 30U;

// What an observer outside sees every tenth of a second.
struct SimulatedSample {
  std::chrono::nanoseconds time;
  double used_percent;
  std::uint64_t held_bytes;
  double stall_avg10_percent;
};

// How tasks stall on a machine whose memory does not suffice, all of which is touched all the time.
struct SimulatedStall {
  std::uint64_t swap_bytes = 0;
  double swap_bytes_per_second = 100.0 * static_cast<double>(1U << 20U);  // of writing
  // Share of time stalled, in percent, by how many bytes more are wanted than there are (negative: still available).
  std::function<double(double excess_bytes)> percent;
  // How soon that comes about, and by how much it goes up and down from one tenth of a second to the next.
  double response_s = 0.8;
  double noise = 0.3;
  // Where it is above zero, `percent` is not asked: pages are touched at random at the pace that is set, those that are
  // swapped out take this long to come back, and the kernel swaps out in pieces of up to this many bytes.
  double fault_seconds = 0;
  double piece_bytes = 0;
};

// Time, gauge, memory and observer of one simulated machine. Its fields are set before the engine runs.
class SimulatedMachine final : public os::MemoryGauge, public PressureMemory, public Pacer, public PressureObserver {
 public:
  // The machine.
  std::uint64_t limit_bytes = 4 * kGiB;
  double fill_bytes_per_second = 1.0 * kGiB;
  // What other processes use at a time.
  std::function<std::uint64_t(std::chrono::nanoseconds)> others = [](std::chrono::nanoseconds) { return 800 * kMiB; };
  // Room outside of the limit (an outer cgroup, the machine), less what is held.
  std::uint64_t outer_bytes = std::numeric_limits<std::uint64_t>::max();
  // From here on the kernel refuses.
  std::uint64_t refuse_above_held_bytes = std::numeric_limits<std::uint64_t>::max();
  SimulatedStall stall;
  // When the stop is requested.
  std::optional<std::chrono::nanoseconds> stop_at;
  std::stop_source stop_source;
  // When somebody asks for memory back.
  std::optional<std::chrono::nanoseconds> shrink_at;
  // Then a burst is given another target.
  std::optional<std::chrono::nanoseconds> retarget_at;
  double retarget_percent = 0;
  ShrinkRequest shrink;
  EngineRequests requests;
  // When a hold that lasts until told is over.
  std::optional<std::chrono::nanoseconds> end_hold_at;
  // From here on the gauge fails.
  std::chrono::nanoseconds gauge_fails_at = std::chrono::nanoseconds::max();

  // What was seen.
  std::vector<SimulatedSample> samples;
  std::vector<v1::Phase> phases;
  std::vector<v1::Event> events;
  std::vector<v1::Step> steps;
  std::vector<std::pair<std::chrono::nanoseconds, v1::RunnerState>> states;
  std::vector<std::chrono::nanoseconds> move_times;  // of each Grow and Shrink that moved something
  std::uint64_t largest_growth = 0;
  double highest_used_percent = 0;
  std::chrono::nanoseconds touch_interval{0};
  bool out_of_memory = false;

  // Pacer.
  std::chrono::nanoseconds Now() override { return now_; }
  bool WaitUntil(std::chrono::nanoseconds deadline, const std::stop_token& stop) override {
    if (stop.stop_requested()) return false;
    if (stop_at && deadline >= *stop_at) deadline = std::max(now_, *stop_at);
    if (shrink_at && deadline >= *shrink_at) deadline = std::max(now_, *shrink_at);
    if (end_hold_at && deadline >= *end_hold_at) deadline = std::max(now_, *end_hold_at);
    if (deadline > now_) Advance(deadline - now_);
    return !stop.stop_requested();
  }

  // Gauge.
  absl::StatusOr<os::MemoryReading> Read() override {
    Advance(std::chrono::microseconds(30));
    if (now_ >= gauge_fails_at) return absl::InternalError("the gauge is broken");
    return ReadNow();
  }
  const std::string& limit_source() const override { return source_; }

  // Memory.
  absl::Status Grow(std::size_t bytes, std::stop_token stop) override {
    largest_growth = std::max<std::uint64_t>(largest_growth, bytes);
    move_times.push_back(now_);
    std::uint64_t left = (bytes + kPage - 1) / kPage * kPage;
    while (left > 0) {
      if (stop.stop_requested()) return absl::CancelledError("stopped");
      const std::uint64_t part = std::min<std::uint64_t>(left, 512 * kKiB);
      if (held_bytes_ + part > refuse_above_held_bytes) return absl::ResourceExhaustedError("no more");
      held_bytes_ += part;
      left -= part;
      const bool swaps = Excess() > 0;
      const double rate = swaps ? std::min(stall.swap_bytes_per_second, fill_bytes_per_second) : fill_bytes_per_second;
      filling_full_ = swaps;
      Advance(std::chrono::nanoseconds(static_cast<std::int64_t>(static_cast<double>(part) / rate * 1e9)));
      filling_full_ = false;
    }
    return absl::OkStatus();
  }
  void Shrink(std::size_t bytes, const std::function<void()>& /*progress*/) override {
    if (bytes == 0) return;
    move_times.push_back(now_);
    held_bytes_ -= std::min<std::uint64_t>(held_bytes_, (bytes + kPage - 1) / kPage * kPage);
    Advance(std::chrono::nanoseconds(bytes / 20));  // 20 GB/s
  }
  std::size_t held_bytes() const override { return held_bytes_; }
  bool SetTouchInterval(std::chrono::nanoseconds interval) override {
    if (stall.fault_seconds > 0) touch_interval = interval;
    return stall.fault_seconds > 0;
  }
  absl::StatusOr<std::uint64_t> ResidentBytes() override { return held_bytes_ + 7 * kMiB; }

  // Observer.
  void OnPhase(const v1::Phase& phase) override { phases.push_back(phase); }
  void OnEvent(const v1::Event& event) override { events.push_back(event); }
  void OnStep(const v1::Step& step) override { steps.push_back(step); }
  void OnState(const v1::RunnerState& state) override { states.emplace_back(now_, state); }

  // The stall: an object of its own, because both are read by Read().
  os::MemoryStall* stall_reader() { return &stall_reader_; }

  // Questions.
  [[nodiscard]] std::vector<v1::Event> EventsOf(v1::Event::Kind kind) const {
    std::vector<v1::Event> found;
    for (const v1::Event& event : events) {
      if (event.kind() == kind) found.push_back(event);
    }
    return found;
  }
  [[nodiscard]] std::vector<v1::Phase::Kind> PhaseKinds() const {
    std::vector<v1::Phase::Kind> kinds;
    for (const v1::Phase& phase : phases) kinds.push_back(phase.kind());
    return kinds;
  }
  // Beginning and end of the first phase of a kind that another one follows.
  [[nodiscard]] std::pair<std::chrono::nanoseconds, std::chrono::nanoseconds> SpanOf(v1::Phase::Kind kind) const {
    for (std::size_t i = 0; i + 1 < phases.size(); ++i) {
      if (phases[i].kind() != kind) continue;
      return {base::FromProto(phases[i].start_offset()), base::FromProto(phases[i + 1].start_offset())};
    }
    return {};
  }

 private:
  static constexpr std::uint64_t kPage = 4096;

  class StallReader final : public os::MemoryStall {
   public:
    explicit StallReader(SimulatedMachine* machine) : machine_(machine) {}
    absl::StatusOr<os::StallReading> Read() override {
      machine_->Advance(std::chrono::microseconds(20));
      return os::StallReading{
          .some = {.total_us = static_cast<std::uint64_t>(machine_->stalled_us_), .avg10_percent = machine_->avg10_},
          .full = {}};
    }

   private:
    SimulatedMachine* machine_;
  };

  // What is wanted less what there is.
  double Excess() const {
    return static_cast<double>(others(now_)) + static_cast<double>(held_bytes_) - static_cast<double>(limit_bytes);
  }

  // Tasks stall for a while. Whoever fills memory that is full stalls himself.
  void Stall(std::chrono::nanoseconds time) {
    if (!stall.percent && stall.fault_seconds <= 0) return;
    const double seconds = base::ToSeconds(time);
    const double excess = Excess();
    out_of_memory = out_of_memory || excess > static_cast<double>(stall.swap_bytes);
    const double percent = std::clamp(stall.percent ? stall.percent(excess) : PacedPercent(excess), 0.0, 98.0);
    stall_percent_ += (percent - stall_percent_) * (1 - std::exp(-seconds / stall.response_s));
    if (now_ >= next_noise_) {
      next_noise_ = now_ + std::chrono::milliseconds(100);
      random_ = random_ * 6364136223846793005U + 1442695040888963407U;
      noise_ = static_cast<double>(random_ >> 33U) / static_cast<double>(1U << 30U) - 1;  // from -1 to 1
    }
    const double noisy = std::clamp(stall_percent_ * (1 + stall.noise * noise_), 0.0, 98.0);
    const double share = filling_full_ ? std::max(noisy, 90.0) : noisy;
    stalled_us_ += share / 100 * seconds * 1e6;
    // The kernel's own average: every two seconds.
    if (now_ >= next_average_) {
      const double decay = std::exp(-2.0 / 10.0);
      avg10_ = decay * avg10_ + (1 - decay) * (stalled_us_ - averaged_us_) / 2e6 * 100;
      averaged_us_ = stalled_us_;
      next_average_ += std::chrono::seconds(2);
    }
  }

  // A share of the touches meets a page that is swapped out. How much is swapped beyond what does not fit goes up and
  // down over seconds.
  double PacedPercent(double excess) {
    if (now_ >= next_piece_) {
      next_piece_ = now_ + std::chrono::seconds(3);
      piece_ = (noise_ + 1) / 2 * stall.piece_bytes;
    }
    if (excess <= 0 || touch_interval.count() == 0 || held_bytes_ == 0) return 0;
    const double faults = (excess + piece_) / static_cast<double>(kPage) / base::ToSeconds(touch_interval);
    return 100 * faults * stall.fault_seconds;
  }

  os::MemoryReading ReadNow() const {
    const std::uint64_t used = std::min(limit_bytes, others(now_) + held_bytes_);
    os::MemoryReading reading;
    reading.limit_bytes = limit_bytes;
    reading.available_bytes = limit_bytes - used;
    const std::uint64_t outer = outer_bytes > held_bytes_ ? outer_bytes - held_bytes_ : 0;
    reading.headroom_bytes = std::min(reading.available_bytes, outer);
    const double swapped = std::max(Excess(), 0.0);
    const auto swap = static_cast<double>(stall.swap_bytes);
    reading.swap_headroom_bytes = swap > swapped ? static_cast<std::uint64_t>(swap - swapped) : 0;
    return reading;
  }

  void Advance(std::chrono::nanoseconds time) {
    constexpr std::chrono::nanoseconds kSampleInterval = std::chrono::milliseconds(100);
    constexpr std::chrono::nanoseconds kStallStep = std::chrono::milliseconds(10);
    const std::chrono::nanoseconds end = now_ + time;
    highest_used_percent = std::max(highest_used_percent, ReadNow().used_percent());
    while (now_ < end) {
      const std::chrono::nanoseconds next = stall.percent || stall.fault_seconds > 0
                                                ? std::min({end, next_sample_, now_ + kStallStep})
                                                : std::min(end, next_sample_);
      Stall(next - now_);
      now_ = next;
      if (now_ < next_sample_) continue;
      samples.push_back({.time = now_,
                         .used_percent = ReadNow().used_percent(),
                         .held_bytes = held_bytes_,
                         .stall_avg10_percent = avg10_});
      next_sample_ += kSampleInterval;
    }
    if (stop_at && now_ >= *stop_at) stop_source.request_stop();
    if (end_hold_at && now_ >= *end_hold_at) {
      end_hold_at.reset();
      requests.EndHold();
    }
    if (retarget_at && now_ >= *retarget_at) {
      retarget_at.reset();
      requests.Retarget(retarget_percent);
    }
    if (shrink_at && now_ >= *shrink_at) {
      shrink_at.reset();
      requests.Post(shrink);
    }
  }

  std::chrono::nanoseconds now_{0};
  std::chrono::nanoseconds next_sample_{0};
  std::chrono::nanoseconds next_piece_{0};
  double piece_ = 0;
  std::uint64_t held_bytes_ = 0;
  std::string source_ = "machine";
  StallReader stall_reader_{this};
  bool filling_full_ = false;
  double stall_percent_ = 0;
  double stalled_us_ = 0;
  double averaged_us_ = 0;
  double avg10_ = 0;
  double noise_ = 0;
  std::uint64_t random_ = 1;
  std::chrono::nanoseconds next_noise_{0};
  std::chrono::nanoseconds next_average_ = std::chrono::seconds(2);
};

}  // namespace ballast::pressure
