// Loads of models in runs, and the key figures of one load.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "ballast/v1/report.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/workload.pb.h"

namespace ballast::report {

// One key figure of a load. docs/reports.md explains each one.
struct LoadFigureDefinition {
  std::string_view name;  // with its unit as suffix
  std::optional<double> (*compute)(const v1::ModelLoadResult&);
};

// Every key figure of a load there is, ordered by name.
[[nodiscard]] std::span<const LoadFigureDefinition> AllLoadFigures();

// The key figures of a load, ordered by name; those that do not apply or are not known, and values that are not finite,
// are left out. A load that did not survive has only what is known of it.
[[nodiscard]] std::vector<v1::Figure> ComputeLoadFigures(const v1::ModelLoadResult& load);

// A load and the attempt it belongs to. Points into the run.
struct LoadOfRun {
  std::uint32_t attempt = 0;
  const v1::ModelLoadResult* load = nullptr;
};

// The loads of a run, in order: those of its last attempt; of a soak, which goes on from attempt to attempt, those of
// all.
[[nodiscard]] std::vector<LoadOfRun> LoadsOf(const v1::Run& run);

}  // namespace ballast::report
