#include "coordinator/report/loads.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "coordinator/report/figures.h"

namespace ballast::report {
namespace {

using Load = v1::ModelLoadResult;
using Stage = v1::LoadStage;
using Value = std::optional<double>;

// Durations come from devices; protobuf's range is wider than what nanoseconds in 64 bits hold.
double Seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + static_cast<double>(duration.nanos()) / 1e9;
}

const Stage* FindStage(const Load& load, Stage::Kind kind) {
  const auto found = std::ranges::find(load.stages(), kind, &Stage::kind);
  return found == load.stages().end() ? nullptr : &*found;
}

Value StageSeconds(const Load& load, Stage::Kind kind) {
  const Stage* stage = FindStage(load, kind);
  return stage == nullptr ? Value() : Seconds(stage->duration());
}

// Something that a stage did so many times, or of so many bytes, over the time it took.
Value StageRate(const Load& load, Stage::Kind kind, double (*amount)(const Stage&)) {
  const Stage* stage = FindStage(load, kind);
  if (stage == nullptr || amount(*stage) <= 0 || Seconds(stage->duration()) <= 0) return {};
  return amount(*stage) / Seconds(stage->duration());
}

double WeightBytes(const Stage& stage) {
  return static_cast<double>(stage.weight_bytes());
}

Value IfAny(double value) {
  return value > 0 ? Value(value) : Value();
}

// A count that may rightly be zero, of a load of which something is known at all.
Value Counted(const Load& load, std::uint64_t count) {
  return load.stages().empty() && load.peak_resident_bytes() == 0 ? Value() : Value(static_cast<double>(count));
}

// Ordered by name. One entry a figure: docs/reports.md has the same list with the formulas in words.
constexpr std::array kFigures = {
    LoadFigureDefinition{"disk_read_bytes", [](const Load& load) { return Counted(load, load.disk_read_bytes()); }},
    LoadFigureDefinition{"estimate_error_percent",
                         [](const Load& load) -> Value {
                           // The peak of a load that was cut short says nothing about the estimate.
                           const auto expected = static_cast<double>(load.estimate().resident_bytes());
                           if (load.outcome().kind() != v1::COMPLETED || expected <= 0) return {};
                           if (load.peak_resident_bytes() == 0) return {};
                           return 100 * (static_cast<double>(load.peak_resident_bytes()) - expected) / expected;
                         }},
    LoadFigureDefinition{"first_pass_seconds", [](const Load& load) { return StageSeconds(load, Stage::FIRST_PASS); }},
    LoadFigureDefinition{"generated_tokens_per_second",
                         [](const Load& load) { return IfAny(load.runtime_figures().generated_tokens_per_second()); }},
    LoadFigureDefinition{"load_bytes_per_second",
                         [](const Load& load) { return StageRate(load, Stage::LOAD, WeightBytes); }},
    LoadFigureDefinition{"load_major_fault_count", [](const Load& load) { return Counted(load, load.major_faults()); }},
    LoadFigureDefinition{"load_minor_fault_count", [](const Load& load) { return Counted(load, load.minor_faults()); }},
    LoadFigureDefinition{"load_seconds", [](const Load& load) { return StageSeconds(load, Stage::LOAD); }},
    LoadFigureDefinition{"parse_seconds", [](const Load& load) { return StageSeconds(load, Stage::PARSE); }},
    LoadFigureDefinition{"pass_bytes_per_second",
                         [](const Load& load) { return StageRate(load, Stage::PASSES, WeightBytes); }},
    LoadFigureDefinition{"passes_per_second",
                         [](const Load& load) {
                           return StageRate(load, Stage::PASSES,
                                            [](const Stage& s) -> double { return s.pass_count(); });
                         }},
    LoadFigureDefinition{"peak_load_anon_bytes",
                         [](const Load& load) { return IfAny(static_cast<double>(load.peak_anon_bytes())); }},
    LoadFigureDefinition{"peak_load_file_bytes",
                         [](const Load& load) { return IfAny(static_cast<double>(load.peak_file_bytes())); }},
    LoadFigureDefinition{"peak_load_resident_bytes",
                         [](const Load& load) { return IfAny(static_cast<double>(load.peak_resident_bytes())); }},
    LoadFigureDefinition{"prompt_tokens_per_second",
                         [](const Load& load) { return IfAny(load.runtime_figures().prompt_tokens_per_second()); }},
    LoadFigureDefinition{"refault_bytes",
                         [](const Load& load) -> Value {
                           if (load.stages().empty()) return {};
                           double sum = 0;
                           for (const Stage& stage : load.stages()) sum += static_cast<double>(stage.refault_bytes());
                           return sum;
                         }},
    LoadFigureDefinition{"time_to_first_pass_seconds",
                         [](const Load& load) -> Value {
                           const Stage* pass = FindStage(load, Stage::FIRST_PASS);
                           if (pass == nullptr) return {};
                           return Seconds(pass->start_offset()) + Seconds(pass->duration()) -
                                  Seconds(load.start_offset());
                         }},
};
static_assert(std::ranges::is_sorted(kFigures, {}, &LoadFigureDefinition::name));

}  // namespace

std::span<const LoadFigureDefinition> AllLoadFigures() {
  return kFigures;
}

std::vector<v1::Figure> ComputeLoadFigures(const v1::ModelLoadResult& load) {
  std::vector<v1::Figure> figures;
  for (const LoadFigureDefinition& definition : kFigures) {
    const Value value = definition.compute(load);
    if (!value.has_value() || !std::isfinite(*value)) continue;
    v1::Figure& figure = figures.emplace_back();
    figure.set_name(std::string(definition.name));
    figure.set_value(*value);
  }
  return figures;
}

std::vector<LoadOfRun> LoadsOf(const v1::Run& run) {
  std::vector<LoadOfRun> loads;
  const bool soak = run.workload_kind() == "stability";
  for (const v1::Attempt& attempt : run.attempts()) {
    if (!soak && &attempt != LastAttempt(run)) continue;
    for (const v1::ModelLoadResult& load : attempt.result().loads()) {
      loads.push_back({.attempt = attempt.attempt(), .load = &load});
    }
  }
  return loads;
}

}  // namespace ballast::report
