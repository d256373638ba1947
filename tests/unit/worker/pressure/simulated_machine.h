// A machine that exists in numbers only: memory, what other processes use of it, and time that passes when something
// takes time.
#pragma once

#include <chrono>
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
#include "worker/pressure/pacer.h"
#include "worker/pressure/pressure_memory.h"
#include "worker/pressure/run_log.h"
#include "worker/pressure/shrink_requests.h"

namespace ballast::pressure {

inline constexpr std::uint64_t kKiB = 1U << 10U;
inline constexpr std::uint64_t kMiB = 1U << 20U;
inline constexpr std::uint64_t kGiB = 1U << 30U;

// What an observer outside sees every tenth of a second.
struct SimulatedSample {
  std::chrono::nanoseconds time;
  double used_percent;
  std::uint64_t held_bytes;
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
  // When the stop is requested.
  std::optional<std::chrono::nanoseconds> stop_at;
  std::stop_source stop_source;
  // When somebody asks for memory back.
  std::optional<std::chrono::nanoseconds> shrink_at;
  ShrinkRequest shrink;
  ShrinkRequests shrinks;
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

  // Pacer.
  std::chrono::nanoseconds Now() override { return now_; }
  bool WaitUntil(std::chrono::nanoseconds deadline, const std::stop_token& stop) override {
    if (stop.stop_requested()) return false;
    if (stop_at && deadline >= *stop_at) deadline = std::max(now_, *stop_at);
    if (shrink_at && deadline >= *shrink_at) deadline = std::max(now_, *shrink_at);
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
      Advance(
          std::chrono::nanoseconds(static_cast<std::int64_t>(static_cast<double>(part) / fill_bytes_per_second * 1e9)));
    }
    return absl::OkStatus();
  }
  void Shrink(std::size_t bytes) override {
    if (bytes == 0) return;
    move_times.push_back(now_);
    held_bytes_ -= std::min<std::uint64_t>(held_bytes_, (bytes + kPage - 1) / kPage * kPage);
    Advance(std::chrono::nanoseconds(bytes / 20));  // 20 GB/s
  }
  std::size_t held_bytes() const override { return held_bytes_; }
  absl::StatusOr<std::uint64_t> ResidentBytes() override { return held_bytes_ + 7 * kMiB; }

  // Observer.
  void OnPhase(const v1::Phase& phase) override { phases.push_back(phase); }
  void OnEvent(const v1::Event& event) override { events.push_back(event); }
  void OnStep(const v1::Step& step) override { steps.push_back(step); }
  void OnState(const v1::RunnerState& state) override { states.emplace_back(now_, state); }

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

  os::MemoryReading ReadNow() const {
    const std::uint64_t used = std::min(limit_bytes, others(now_) + held_bytes_);
    os::MemoryReading reading;
    reading.limit_bytes = limit_bytes;
    reading.available_bytes = limit_bytes - used;
    const std::uint64_t outer = outer_bytes > held_bytes_ ? outer_bytes - held_bytes_ : 0;
    reading.headroom_bytes = std::min(reading.available_bytes, outer);
    return reading;
  }

  void Advance(std::chrono::nanoseconds time) {
    constexpr std::chrono::nanoseconds kSampleInterval = std::chrono::milliseconds(100);
    const std::chrono::nanoseconds end = now_ + time;
    highest_used_percent = std::max(highest_used_percent, ReadNow().used_percent());
    while (next_sample_ <= end) {
      now_ = next_sample_;
      samples.push_back({.time = now_, .used_percent = ReadNow().used_percent(), .held_bytes = held_bytes_});
      next_sample_ += kSampleInterval;
    }
    now_ = end;
    if (stop_at && now_ >= *stop_at) stop_source.request_stop();
    if (shrink_at && now_ >= *shrink_at) {
      shrink_at.reset();
      shrinks.Post(shrink);
    }
  }

  std::chrono::nanoseconds now_{0};
  std::chrono::nanoseconds next_sample_{0};
  std::uint64_t held_bytes_ = 0;
  std::string source_ = "machine";
};

}  // namespace ballast::pressure
