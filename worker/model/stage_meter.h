// What a stage of a load took, measured from inside.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"

namespace ballast::model {

// Measures one stage after the other: time, memory at its end, faults, bytes read, refaults; of this process and of
// those added. Not thread-safe.
class StageMeter {
 public:
  // Offsets count from `attempt_start` (CLOCK_MONOTONIC). `root` is where /proc and /sys are found.
  explicit StageMeter(std::chrono::nanoseconds attempt_start, std::string root = "/");

  // Counts a process of the runtime too, from its start on.
  void AddProcess(pid_t pid);

  // Since the start of the attempt.
  [[nodiscard]] std::chrono::nanoseconds Offset() const;

  // What this process and those added have taken since they began, and their memory now.
  [[nodiscard]] v1::LoadBegin CountsSoFar() const;

  // A stage begins now.
  void Begin();
  // How long the stage has gone on. End tells no less.
  [[nodiscard]] std::chrono::nanoseconds SinceBegin() const { return Offset() - begin_; }
  // It ends now. What cannot be read stays zero. Takes tens of milliseconds where processes hold gigabytes
  // (smaps_rollup), after the stage's time was taken.
  [[nodiscard]] v1::LoadStage End(v1::LoadStage::Kind kind);

 private:
  struct Counters {
    std::uint64_t minor_faults = 0;
    std::uint64_t major_faults = 0;
    std::uint64_t disk_read_bytes = 0;
    std::uint64_t refault_bytes = 0;
  };

  [[nodiscard]] std::string ReadOf(const std::string& process, const char* file) const;
  [[nodiscard]] Counters ReadCounters() const;
  void AddFootprint(const std::string& process, v1::MemoryFootprint* footprint) const;

  std::chrono::nanoseconds attempt_start_;
  std::string root_;
  std::string refault_file_;  // memory.stat of the cgroup, or /proc/vmstat
  std::vector<std::string> processes_ = {"self"};
  std::chrono::nanoseconds begin_{0};
  Counters at_begin_;
};

}  // namespace ballast::model
