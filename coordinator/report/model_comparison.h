// The levels of models side by side, over the loads of many runs.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ballast/v1/device.pb.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/model.pb.h"
#include "ballast/v1/report.pb.h"
#include "ballast/v1/run.pb.h"
#include "coordinator/report/survival.h"

namespace ballast::report {

// Takes in the loads of one level and sums them up. Not thread-safe.
class LevelAccumulator {
 public:
  void Add(const v1::ModelLoadResult& load);

  // The summary of what was added so far; level, device and rank are left empty.
  [[nodiscard]] v1::LevelSummary Summarize() const;

 private:
  std::uint64_t file_bytes_ = 0;
  SurvivalAccumulator loads_;
};

// The loads of one model under the same conditions.
struct ComparedModel {
  v1::ModelComparison comparison;                            // without advice
  v1::ModelLoad load;                                        // as the first job had it
  std::map<std::string, v1::ModelDescription> descriptions;  // by level, of the files that are known
};

// Takes in runs and puts the levels of each model side by side. Not thread-safe.
class ModelLoads {
 public:
  // `job` is the run's. A run that has not ended is passed over.
  void Add(const v1::Run& run, const v1::Job& job);

  // One entry for each model and the conditions it was loaded under, ordered by model, then in order of appearance.
  [[nodiscard]] std::vector<ComparedModel> Compare() const;

  // Loads whose file was not found in the page cache as it was asked for, one sentence a model, for people.
  [[nodiscard]] std::vector<std::string> CacheWarnings() const;

 private:
  struct Group {
    v1::LoadConditions conditions;
    v1::ModelLoad load;
    std::map<std::string, v1::ModelDescription> descriptions;
    std::map<std::string, LevelAccumulator> levels;
    std::map<std::string, std::map<std::string, LevelAccumulator>> by_device;
  };
  struct CacheCount {
    std::uint32_t loads = 0;
    std::uint32_t otherwise = 0;
  };

  std::map<std::string, std::vector<Group>> models_;
  std::map<std::pair<std::string, v1::CacheState>, CacheCount> caches_;
};

// How a load was made, beside which pressure and in which environment: those of what its run carried out (jobs::SpecOf).
[[nodiscard]] v1::LoadConditions ConditionsOf(const v1::ModelLoadResult& load, const v1::JobSpec& spec);

// Whether loads under the two can be compared.
[[nodiscard]] bool SameConditions(const v1::LoadConditions& a, const v1::LoadConditions& b);

// Level names, least quality first, with the sizes of their files. Levels whose quality is known stand in that order;
// any other follows the best known one whose file is smaller.
[[nodiscard]] std::vector<std::string> OrderLevels(const std::map<std::string, std::uint64_t>& file_bytes);

// The statistics of a figure; null where there are none.
[[nodiscard]] const v1::FigureStatistics* FindFigure(
    const google::protobuf::RepeatedPtrField<v1::FigureStatistics>& figures, std::string_view name);

// `2.35`, `5910`: passes a second in a sentence; three significant digits, and no exponent.
[[nodiscard]] std::string RateText(double per_second);

// A device's host name; its identifier where that is not known.
[[nodiscard]] std::string NameOf(const std::string& device_id, std::span<const v1::Device> devices);

// Levels that are slower than one with a larger file: by more than 5 % in the median of the time to the end of the
// first pass, or of passes a second, on the same device. One sentence for each pair of levels, for people; of several
// larger levels the one that shows it most.
[[nodiscard]] std::vector<std::string> FindInversions(const v1::ModelComparison& comparison,
                                                      std::span<const v1::Device> devices);

}  // namespace ballast::report
