#include "coordinator/report/model_comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <tuple>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/units.h"
#include "common/gguf/quant_mix.h"
#include "common/jobs/variant.h"
#include "common/jobs/workload_parts.h"
#include "coordinator/report/loads.h"
#include "google/protobuf/util/message_differencer.h"

namespace ballast::report {
namespace {

// Slower by more than this is an inversion.
constexpr double kClearly = 1.05;
// What a level has that no load of it told.
constexpr double kWorst = std::numeric_limits<double>::infinity();

using FigureList = google::protobuf::RepeatedPtrField<v1::FigureStatistics>;

std::optional<double> Median(const v1::LevelSummary& level, std::string_view name) {
  const v1::FigureStatistics* figure = FindFigure(level.figures(), name);
  return figure == nullptr ? std::nullopt : std::optional(figure->median());
}

// Numbers the levels of which a load survived, best first: nothing is known of the speed of others. Levels that are
// alike in everything share a place.
void SetRanks(std::span<v1::LevelSummary*> levels) {
  const auto key = [](const v1::LevelSummary* level) {
    return std::tuple(-static_cast<double>(level->survived_count()) / level->load_count(),
                      Median(*level, "time_to_first_pass_seconds").value_or(kWorst),
                      -Median(*level, "passes_per_second").value_or(0),
                      Median(*level, "peak_load_resident_bytes").value_or(kWorst));
  };
  std::vector<v1::LevelSummary*> counted;
  std::ranges::copy_if(levels, std::back_inserter(counted),
                       [](const auto* level) { return level->survived_count() > 0; });
  std::ranges::stable_sort(counted, {}, key);
  for (std::size_t i = 0; i < counted.size(); ++i) {
    const bool tie = i > 0 && key(counted[i]) == key(counted[i - 1]);
    counted[i]->set_rank(tie ? counted[i - 1]->rank() : static_cast<std::uint32_t>(i + 1));
  }
}

// Adds the summaries of one device, or of all, in the order of the levels.
void AddLevels(const std::vector<std::string>& order, const std::map<std::string, LevelAccumulator>& levels,
               const std::string& device_id, google::protobuf::RepeatedPtrField<v1::LevelSummary>* list) {
  std::vector<v1::LevelSummary*> added;
  for (const std::string& quant : order) {
    const auto level = levels.find(quant);
    if (level == levels.end()) continue;
    v1::LevelSummary* const summary = list->Add();
    *summary = level->second.Summarize();
    summary->set_quant(quant);
    summary->set_device_id(device_id);
    added.push_back(summary);
  }
  SetRanks(added);
}

std::string SecondsText(double seconds) {
  return base::FormatDuration(std::chrono::nanoseconds(std::llround(std::clamp(seconds, 0.0, 1e9) * 1e9)));
}

// How much slower the smaller of two levels is, 1 being alike, and the words for it.
struct Slower {
  double factor = 0;
  std::string text;
};

Slower HowMuchSlower(const v1::LevelSummary& smaller, const v1::LevelSummary& larger) {
  Slower worst;
  const auto compare = [&worst](double factor, const std::string& text) {
    if (std::isfinite(factor) && factor > kClearly && factor > worst.factor) worst = {.factor = factor, .text = text};
  };
  const auto time = Median(smaller, "time_to_first_pass_seconds");
  const auto larger_time = Median(larger, "time_to_first_pass_seconds");
  if (time.has_value() && larger_time.has_value()) {
    compare(*time / *larger_time,
            fmt::format("first pass over after {} against {}", SecondsText(*time), SecondsText(*larger_time)));
  }
  const auto rate = Median(smaller, "passes_per_second");
  const auto larger_rate = Median(larger, "passes_per_second");
  if (rate.has_value() && larger_rate.has_value()) {
    compare(*larger_rate / *rate, fmt::format("{} passes/s against {}", RateText(*rate), RateText(*larger_rate)));
  }
  return worst;
}

}  // namespace

void LevelAccumulator::Add(const v1::ModelLoadResult& load) {
  file_bytes_ = std::max(file_bytes_, load.file_bytes());
  loads_.Add(load.outcome().kind(), ComputeLoadFigures(load));
}

v1::LevelSummary LevelAccumulator::Summarize() const {
  v1::LevelSummary summary;
  summary.set_load_count(loads_.count());
  summary.set_file_bytes(file_bytes_);
  loads_.Fill(&summary);
  return summary;
}

v1::LoadConditions ConditionsOf(const v1::ModelLoadResult& load, const v1::JobSpec& spec) {
  v1::LoadConditions conditions;
  conditions.set_loader(load.loader());
  conditions.set_runtime(load.runtime());
  conditions.set_lock(load.lock());
  conditions.set_cache(load.asked_cache());
  conditions.set_environment(spec.environment());
  if (const auto* pressure = jobs::PressureOf(spec.workload())) *conditions.mutable_pressure() = *pressure;
  return conditions;
}

bool SameConditions(const v1::LoadConditions& a, const v1::LoadConditions& b) {
  return google::protobuf::util::MessageDifferencer::Equals(a, b);
}

void ModelLoads::Add(const v1::Run& run, const v1::Job& job) {
  if (run.state() != v1::Run::ENDED) return;
  const v1::JobSpec spec = jobs::SpecOf(job.spec(), run);
  for (const LoadOfRun& entry : LoadsOf(run)) {
    const v1::ModelLoadResult& load = *entry.load;
    // One that was cut off in the middle of everything has no end to count.
    if (!load.has_outcome()) continue;
    const v1::LoadConditions conditions = ConditionsOf(load, spec);
    std::vector<Group>& groups = models_[load.model_id()];
    auto group = std::ranges::find_if(
        groups, [&conditions](const Group& known) { return SameConditions(known.conditions, conditions); });
    if (group == groups.end()) {
      Group& added = groups.emplace_back();
      added.conditions = conditions;
      if (const v1::ModelLoad* asked = jobs::LoadOf(spec.workload()); asked != nullptr) added.load = *asked;
      group = std::prev(groups.end());
    }
    for (const v1::ResolvedModel& model : job.models()) {
      if (model.model_id() != load.model_id()) continue;
      v1::ModelDescription& description = group->descriptions[model.quant()];
      if (model.has_description()) description = model.description();
    }
    group->levels[load.quant()].Add(load);
    group->by_device[run.device_id()][load.quant()].Add(load);
    if (load.asked_cache() == v1::COLD || load.asked_cache() == v1::WARM) {
      CacheCount& count = caches_[{load.model_id(), load.asked_cache()}];
      ++count.loads;
      if (load.found_cache() != load.asked_cache()) ++count.otherwise;
    }
  }
}

std::vector<ComparedModel> ModelLoads::Compare() const {
  std::vector<ComparedModel> compared;
  for (const auto& [model_id, groups] : models_) {
    for (const Group& group : groups) {
      ComparedModel& model = compared.emplace_back();
      model.load = group.load;
      model.descriptions = group.descriptions;
      model.comparison.set_model_id(model_id);
      *model.comparison.mutable_conditions() = group.conditions;
      std::map<std::string, std::uint64_t> sizes;
      for (const auto& [quant, level] : group.levels) sizes[quant] = level.Summarize().file_bytes();
      const std::vector<std::string> order = OrderLevels(sizes);
      AddLevels(order, group.levels, "", model.comparison.mutable_levels());
      for (const auto& [device_id, levels] : group.by_device) {
        AddLevels(order, levels, device_id, model.comparison.mutable_by_device());
      }
    }
  }
  return compared;
}

std::vector<std::string> ModelLoads::CacheWarnings() const {
  std::vector<std::string> warnings;
  for (const auto& [key, count] : caches_) {
    if (count.otherwise == 0) continue;
    warnings.push_back(fmt::format(
        "model {}: {} of {} loads that asked for {} found the page cache otherwise; found_cache and cached_percent of "
        "each load say how",
        key.first, count.otherwise, count.loads, v1::CacheState_Name(key.second)));
  }
  return warnings;
}

std::vector<std::string> OrderLevels(const std::map<std::string, std::uint64_t>& file_bytes) {
  struct Level {
    std::string quant;
    std::uint64_t bytes = 0;
    std::size_t known_before = 0;  // known levels up to its place
    bool known = false;
  };
  const auto place_of = [](const std::string& quant) -> std::size_t {  // from 1; 0 where it is not known
    const auto all = gguf::LevelsByQuality();
    const auto found = std::ranges::find(all, quant, [](gguf::QuantLevel level) { return gguf::NameOf(level); });
    return found == all.end() ? 0 : static_cast<std::size_t>(found - all.begin()) + 1;
  };
  std::vector<Level> levels;
  for (const auto& [quant, bytes] : file_bytes) {
    const std::size_t place = place_of(quant);
    levels.push_back({.quant = quant, .bytes = bytes, .known_before = place, .known = place > 0});
  }
  for (Level& level : levels) {
    if (level.known) continue;
    for (const Level& other : levels) {
      if (other.known && other.bytes < level.bytes)
        level.known_before = std::max(level.known_before, other.known_before);
    }
  }
  std::ranges::sort(levels, {}, [](const Level& level) {
    return std::tuple(level.known_before, !level.known, level.bytes, std::string_view(level.quant));
  });
  std::vector<std::string> order;
  for (Level& level : levels) order.push_back(std::move(level.quant));
  return order;
}

const v1::FigureStatistics* FindFigure(const FigureList& figures, std::string_view name) {
  const auto found = std::ranges::find(figures, name, &v1::FigureStatistics::name);
  return found == figures.end() ? nullptr : &*found;
}

std::string RateText(double per_second) {
  return std::abs(per_second) < 999.5 ? fmt::format("{:.3g}", per_second) : fmt::format("{:.0f}", per_second);
}

std::string NameOf(const std::string& device_id, std::span<const v1::Device> devices) {
  const auto device = std::ranges::find(devices, device_id, &v1::Device::device_id);
  return device == devices.end() || device->facts().hostname().empty() ? device_id : device->facts().hostname();
}

std::vector<std::string> FindInversions(const v1::ModelComparison& comparison, std::span<const v1::Device> devices) {
  std::map<std::string, std::vector<const v1::LevelSummary*>> by_device;
  for (const v1::LevelSummary& level : comparison.by_device()) by_device[level.device_id()].push_back(&level);
  const auto place_of = [&comparison](const std::string& quant) {
    return std::ranges::find(comparison.levels(), quant, &v1::LevelSummary::quant) - comparison.levels().begin();
  };

  // Pairs of levels, by their places, with what was seen on each device.
  std::map<std::pair<std::ptrdiff_t, std::ptrdiff_t>, std::vector<std::string>> pairs;
  for (const auto& [device_id, levels] : by_device) {
    for (const v1::LevelSummary* smaller : levels) {
      Slower worst;
      const v1::LevelSummary* worst_larger = nullptr;
      for (const v1::LevelSummary* larger : levels) {
        if (smaller->file_bytes() >= larger->file_bytes()) continue;
        Slower slower = HowMuchSlower(*smaller, *larger);
        if (slower.factor <= worst.factor) continue;
        worst = std::move(slower);
        worst_larger = larger;
      }
      if (worst_larger == nullptr) continue;
      pairs[{place_of(smaller->quant()), place_of(worst_larger->quant())}].push_back(
          by_device.size() == 1 ? worst.text : fmt::format("{} ({})", NameOf(device_id, devices), worst.text));
    }
  }
  std::vector<std::string> sentences;
  for (const auto& [pair, seen] : pairs) {
    const v1::LevelSummary& smaller = comparison.levels(static_cast<int>(pair.first));
    const v1::LevelSummary& larger = comparison.levels(static_cast<int>(pair.second));
    sentences.push_back(
        fmt::format("{} ({}) is slower than the larger {} ({}){}: {}", smaller.quant(),
                    base::FormatBytes(smaller.file_bytes()), larger.quant(), base::FormatBytes(larger.file_bytes()),
                    by_device.size() == 1 ? "" : fmt::format(" on {} of {} devices", seen.size(), by_device.size()),
                    fmt::join(seen, "; ")));
  }
  return sentences;
}

}  // namespace ballast::report
