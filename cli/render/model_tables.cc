#include "cli/render/model_tables.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/load_words.h"
#include "cli/render/table.h"
#include "cli/render/text_value.h"
#include "cli/render/text_width.h"
#include "common/base/units.h"

namespace ballast::cli {
namespace {

using Figures = google::protobuf::RepeatedPtrField<v1::FigureStatistics>;

const v1::FigureStatistics* Find(const Figures& figures, const std::string& name) {
  const auto found = std::find_if(figures.begin(), figures.end(),
                                  [&name](const v1::FigureStatistics& figure) { return figure.name() == name; });
  return found == figures.end() ? nullptr : &*found;
}

std::string Median(const v1::LevelSummary& level, const std::string& name) {
  const v1::FigureStatistics* figure = Find(level.figures(), name);
  return figure == nullptr ? "-" : FigureText(name, figure->median());
}

std::string Peak(const v1::LevelSummary& level) {
  const std::string name = "peak_load_resident_bytes";
  if (level.survived_count() > 0) return Median(level, name);
  // Nobody knows what it would have taken; it was more than this.
  const v1::FigureStatistics* lost = Find(level.unsurvived_figures(), name);
  return lost == nullptr ? "-" : "> " + FigureText(name, lost->max());
}

std::string SignedFigure(const std::string& name, double value) {
  return (value > 0 ? "+" : "") + FigureText(name, value);
}

// How far the peak was from what had been estimated: `+3.1 %`.
std::string EstimateError(const v1::LevelSummary& level) {
  const v1::FigureStatistics* error = Find(level.figures(), "estimate_error_percent");
  return error == nullptr ? "-" : SignedFigure(error->name(), error->median());
}

std::string DeviceName(const std::string& device_id, const v1::Report& report) {
  for (const v1::Device& device : report.devices()) {
    if (device.device_id() != device_id || device.facts().hostname().empty()) continue;
    const auto same_name = std::count_if(report.devices().begin(), report.devices().end(), [&](const v1::Device& d) {
      return d.facts().hostname() == device.facts().hostname();
    });
    return same_name == 1 ? device.facts().hostname() : fmt::format("{} ({})", device.facts().hostname(), device_id);
  }
  return device_id;
}

// How a model was loaded: `mmap, built-in loader, cold, beside burst to 70 %`.
std::string ConditionsText(const v1::LoadConditions& conditions) {
  std::vector<std::string> parts;
  if (std::string loader = LoaderWord(conditions.loader()); !loader.empty()) parts.push_back(std::move(loader));
  if (conditions.lock()) parts.emplace_back("locked");
  if (conditions.runtime() == v1::ModelLoad::BUILTIN) parts.emplace_back("built-in loader");
  if (conditions.runtime() == v1::ModelLoad::LLAMA_CPP) parts.push_back(RuntimeWord(conditions.runtime()));
  if (conditions.cache() == v1::COLD) parts.emplace_back("cold");
  if (conditions.cache() == v1::WARM) parts.emplace_back("warm");
  if (conditions.has_pressure()) {
    v1::Workload workload;
    *workload.mutable_pressure() = conditions.pressure();
    std::string pressure = "beside " + WorkloadName(workload);
    const v1::BurstPattern& burst = conditions.pressure().burst();
    if (burst.target_percent() > 0) pressure += fmt::format(" to {}", Percent(burst.target_percent()));
    if (burst.target_bytes() > 0) pressure += fmt::format(" to {}", base::FormatBytes(burst.target_bytes()));
    if (burst.has_target_psi()) pressure += " to " + StallText(burst.target_psi());
    parts.push_back(std::move(pressure));
  }
  if (!conditions.environment().empty()) parts.push_back("in environment " + conditions.environment());
  return fmt::format("{}", fmt::join(parts, ", "));
}

const char* FitsText(const v1::DeviceAdvice& device) {
  if (device.basis() == v1::DeviceAdvice::NOTHING) return "-";
  return device.fits() ? "yes" : "no";
}

const char* BasisText(const v1::DeviceAdvice& device) {
  switch (device.basis()) {
    case v1::DeviceAdvice::MEASURED:
      return "measured";
    case v1::DeviceAdvice::ESTIMATED:
      return "estimate";
    case v1::DeviceAdvice::DEVICE_FACTS:
      return "device";
    case v1::DeviceAdvice::NOTHING:
      return "not measured";
    default:  // of an older coordinator
      return device.estimated() ? "estimate" : "measured";
  }
}

// The line above a table: the model, and the conditions that its figures belong to.
std::string Heading(const std::string& model_id, const v1::LoadConditions& conditions) {
  const std::string text = ConditionsText(conditions);
  return fmt::format("{}{}\n", Printable(model_id), text.empty() ? "" : ": " + text);
}

}  // namespace

std::string LevelTable(const v1::ModelComparison& comparison, const v1::Report& report,
                       std::optional<std::size_t> max_columns) {
  std::vector<const v1::LevelSummary*> levels;
  for (const v1::LevelSummary& level : comparison.levels()) levels.push_back(&level);
  const bool several = std::any_of(comparison.by_device().begin(), comparison.by_device().end(),
                                   [&comparison](const v1::LevelSummary& level) {
                                     return level.device_id() != comparison.by_device(0).device_id();
                                   });
  std::vector<Table::Column> columns = {{"LEVEL"}};
  if (several) {
    columns.push_back({"DEVICE"});
    for (const v1::LevelSummary& level : comparison.by_device()) levels.push_back(&level);
  }
  columns.insert(columns.end(), {{"LOADS", Align::kRight},
                                 {"LOAD", Align::kRight},
                                 {"TO FIRST PASS", Align::kRight},
                                 {"PASSES/S", Align::kRight},
                                 {"PEAK", Align::kRight},
                                 {"VS ESTIMATE", Align::kRight},
                                 {"READ", Align::kRight},
                                 {"MAJOR FAULTS", Align::kRight},
                                 {"OUTCOMES"},
                                 {"RANK", Align::kRight}});
  Table table(std::move(columns));
  for (const v1::LevelSummary* level : levels) {
    std::vector<std::string> row = {level->quant()};
    if (several) row.push_back(level->device_id().empty() ? "all" : DeviceName(level->device_id(), report));
    for (std::string cell :
         {fmt::format("{} of {}", level->survived_count(), level->load_count()), Median(*level, "load_seconds"),
          Median(*level, "time_to_first_pass_seconds"), Median(*level, "passes_per_second"), Peak(*level),
          EstimateError(*level), Median(*level, "disk_read_bytes"), Median(*level, "load_major_fault_count"),
          OutcomeCounts(level->outcomes()), level->rank() == 0 ? std::string("-") : std::to_string(level->rank())}) {
      row.push_back(std::move(cell));
    }
    table.AddRow(std::move(row));
  }
  std::string text = Heading(comparison.model_id(), comparison.conditions()) + table.Format(max_columns);
  if (comparison.levels_size() > 1) {
    text += "rank goes by survival, then speed (1 is the fastest); advice is the best quality that fits\n";
  }
  return text;
}

std::string AdviceText(const v1::ModelAdvice& advice) {
  // The sentence begins with the level that it is about.
  const std::string lead = advice.current_optimal().empty()                        ? "none: "
                           : advice.reason().starts_with(advice.current_optimal()) ? ""
                                                                                   : advice.current_optimal() + ": ";
  std::string text = fmt::format("advice: {}{}\n", Printable(lead), Printable(advice.reason()));
  for (const std::string& inversion : advice.inversions()) text += fmt::format("inversion: {}\n", Printable(inversion));
  for (const std::string& remark : advice.remarks()) text += fmt::format("note: {}\n", Printable(remark));
  return text;
}

std::string AdviceTable(const v1::ModelAdvice& advice, std::optional<std::size_t> max_columns) {
  Table table({{"LEVEL"}, {"DEVICES", Align::kRight}, {"DEVICE"}, {"FITS"}, {"BASIS"}, {"REASON"}});
  for (const v1::LevelAdvice& level : advice.levels()) {
    bool first = true;
    for (const v1::DeviceAdvice& device : level.devices()) {
      table.AddRow({first ? level.quant() : "",
                    first ? fmt::format("{} of {}", level.fitting_device_count(), level.devices_size()) : "",
                    device.device_name().empty() ? device.device_id() : device.device_name(), FitsText(device),
                    BasisText(device), device.reason()});
      first = false;
    }
  }
  return Heading(advice.model_id(), advice.conditions()) + (table.empty() ? "" : table.Format(max_columns));
}

std::string SoakText(const std::string& run_id, const v1::SoakReport& soak, std::optional<std::size_t> max_columns) {
  std::string text =
      fmt::format("{}: {} of {} cycles survived", Printable(run_id), soak.survived_count(), soak.cycle_count());
  if (!soak.outcomes().empty()) text += fmt::format(" ({})", OutcomeCounts(soak.outcomes()));
  text += '\n';
  Table trends({{"TREND"},
                {"N", Align::kRight},
                {"AN HOUR", Align::kRight},
                {"FROM", Align::kRight},
                {"TO (95 %)", Align::kRight},
                {"RISES"}});
  for (const v1::Trend& trend : soak.trends()) {
    trends.AddRow({trend.name(), std::to_string(trend.n()), SignedFigure(trend.name(), trend.slope_per_hour()),
                   SignedFigure(trend.name(), trend.low_per_hour()), SignedFigure(trend.name(), trend.high_per_hour()),
                   trend.rises() ? "yes" : "no"});
  }
  if (!trends.empty()) text += trends.Format(max_columns);
  for (const v1::SoakGap& gap : soak.gaps()) text += fmt::format("gap: {}\n", Printable(gap.message()));
  return text;
}

}  // namespace ballast::cli
