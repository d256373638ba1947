// Whether a run's figures can be compared with those of others.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"
#include "common/metrics/metric_table.h"
#include "worker/agent/device_conditions.h"

namespace ballast::agent {

// Collects the circumstances of a run from its samples and from readings of the device's conditions, and judges them by
// the job's thresholds; docs/validity.md says how. Pure: reads nothing itself. Not thread-safe.
class RunValidity {
 public:
  // `spec` has its defaults.
  explicit RunValidity(const v1::JobSpec& spec);

  // Before the runner is started: a sample and a reading of then. What comes before counts for nothing.
  void Begin(const metrics::SampleRow& row, const ConditionsReading& reading);
  [[nodiscard]] bool begun() const { return begun_; }
  // What was found out about the device once.
  void SetDevice(std::vector<std::string> oom_daemons, std::string governor);
  // The device did not become quiet; `problem` says in half a sentence what went on.
  void SetNotSettled(std::chrono::nanoseconds waited, const std::string& problem);

  // Every sample and every reading since Begin, in order. Does not allocate.
  void AddSample(const metrics::SampleRow& row);
  void AddConditions(const ConditionsReading& reading);

  // The verdict over what was seen so far. Of `result` the counts of samples and the killer matter.
  [[nodiscard]] v1::Validity Judge(const v1::RunResult& result) const;

 private:
  void JudgeBackground(v1::Validity* validity) const;
  void JudgeProcessors(v1::Validity* validity) const;
  void JudgeSwap(v1::Validity* validity) const;
  void JudgeTime(const v1::RunResult& result, v1::Validity* validity) const;
  void JudgeOomDaemons(const v1::RunResult& result, v1::Validity* validity) const;
  // Memory of other processes, in bytes; nothing without a runner.
  [[nodiscard]] std::optional<double> OthersMemory(const metrics::SampleRow& row) const;

  const v1::ValiditySpec spec_;
  const bool locked_file_pages_;
  const bool locked_weights_;
  const double environment_bytes_;  // the limit of the environment's group; 0 where there is none

  bool begun_ = false;
  metrics::SampleRow first_row_;
  metrics::SampleRow row_;
  ConditionsReading first_;
  ConditionsReading last_;

  std::vector<std::string> oom_daemons_;
  std::string governor_;
  std::optional<double> not_settled_seconds_;
  std::string not_settled_problem_;

  std::array<double, 3> others_{};  // the last three, in turns
  std::size_t others_count_ = 0;
  double least_others_bytes_ = 0;
  double most_others_bytes_ = 0;
  std::int64_t zram_data_bytes_ = 0;  // the most, and what it was compressed to then
  std::int64_t zram_compressed_bytes_ = 0;
  std::optional<double> lowest_frequency_percent_;
  std::uint64_t hot_readings_ = 0;
  std::chrono::nanoseconds clock_jumps_{0};
  std::chrono::nanoseconds suspended_{0};
};

}  // namespace ballast::agent
