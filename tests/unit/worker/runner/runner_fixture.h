// Runs real runners and collects what they report.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "worker/runner/runner_process.h"

namespace ballast::runner {

inline constexpr std::uint64_t kMiB = 1U << 20U;

// The thread sanitizer in the runner writes four bytes of its own for each that the program writes, so resident bytes
// say nothing there.
#ifdef BALLAST_THREAD_SANITIZER
inline constexpr bool kCountsOwnMemoryOnly = false;
#else
inline constexpr bool kCountsOwnMemoryOnly = true;
#endif

// A pressure workload without waiting before and after.
inline v1::PressureWorkload BarePressure() {
  v1::PressureWorkload workload;
  workload.mutable_content()->set_kind(v1::PageContent::RANDOM);
  workload.set_floor_percent(5);
  return workload;
}

inline v1::PressureWorkload Staircase(std::uint64_t step_bytes, std::chrono::nanoseconds interval,
                                      std::uint32_t steps) {
  v1::PressureWorkload workload = BarePressure();
  workload.mutable_staircase()->set_step_size_bytes(step_bytes);
  *workload.mutable_staircase()->mutable_interval() = base::ToProto(interval);
  workload.mutable_staircase()->set_steps(steps);
  return workload;
}

class RunnerFixture : public ::testing::Test {
 protected:
  static constexpr std::chrono::seconds kPatience{30};

  static v1::RunnerStart StartOf(const v1::PressureWorkload& workload) {
    v1::RunnerStart start;
    *start.mutable_workload()->mutable_pressure() = workload;
    start.set_start_monotonic_ns(base::RealClock().Monotonic().count());
    return start;
  }

  void StartRunner(const v1::RunnerStart& start) {
    auto runner = RunnerProcess::Start(RUNNER_PROGRAM, start);
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_.emplace(*std::move(runner));
  }

  // Reads reports until one satisfies `wanted`; false when the runner closes its end first or patience is at its end.
  bool ReadUntil(const std::function<bool(const v1::RunnerReport&)>& wanted) {
    const auto deadline = base::RealClock().Monotonic() + kPatience;
    std::size_t looked_at = reports_.size();
    while (base::RealClock().Monotonic() < deadline) {
      pollfd entry{.fd = runner_->report_fd(), .events = POLLIN, .revents = 0};
      ::poll(&entry, 1, 100);
      end_ = runner_->ReadReports(&reports_);
      for (; looked_at < reports_.size(); ++looked_at) {
        if (wanted(reports_[looked_at])) return true;
      }
      if (!end_.ok()) return false;
    }
    return false;
  }

  // Everything up to the end of the channel.
  void ReadToEnd() {
    EXPECT_FALSE(ReadUntil([](const v1::RunnerReport&) { return false; }));
    EXPECT_EQ(end_.code(), absl::StatusCode::kOutOfRange) << end_;
  }

  std::vector<v1::Step> Steps() const {
    std::vector<v1::Step> steps;
    for (const v1::RunnerReport& report : reports_) {
      if (report.has_step()) steps.push_back(report.step());
    }
    return steps;
  }
  std::vector<v1::Event> EventsOf(v1::Event::Kind kind) const {
    std::vector<v1::Event> events;
    for (const v1::RunnerReport& report : reports_) {
      if (report.has_event() && report.event().kind() == kind) events.push_back(report.event());
    }
    return events;
  }
  // The last report, which must be the end.
  v1::RunnerFinished Finished() const {
    if (reports_.empty() || !reports_.back().has_finished()) {
      ADD_FAILURE() << "the last report is not the end";
      return {};
    }
    return reports_.back().finished();
  }

  std::optional<RunnerProcess> runner_;
  std::vector<v1::RunnerReport> reports_;
  absl::Status end_;
};

}  // namespace ballast::runner
