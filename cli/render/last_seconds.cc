#include "cli/render/last_seconds.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "cli/render/table.h"
#include "cli/render/text_value.h"

namespace ballast::cli {
namespace {

constexpr double kStepMs = 1000;

// Samples by the name of their metric. Indices are those of samples.
class Series {
 public:
  explicit Series(const v1::SampleSeries& samples) : samples_(samples) {}

  [[nodiscard]] double OffsetMs(int sample) const { return samples_.offset_ms(sample); }
  [[nodiscard]] std::optional<double> At(std::string_view metric, int sample) const {
    const auto column = std::ranges::find(samples_.columns(), metric, &v1::SampleColumn::metric);
    if (column == samples_.columns().end() || sample >= column->values_size()) return std::nullopt;
    const double value = column->values(sample);
    return std::isfinite(value) ? std::optional(value) : std::nullopt;
  }
  // The rise from one sample to a later one, a second.
  [[nodiscard]] std::optional<double> Rate(std::string_view metric, int from, int to) const {
    const std::optional<double> before = At(metric, from);
    const std::optional<double> after = At(metric, to);
    const double seconds = (OffsetMs(to) - OffsetMs(from)) / 1000;
    if (!before || !after || !(seconds > 0)) return std::nullopt;
    return (*after - *before) / seconds;
  }

 private:
  const v1::SampleSeries& samples_;
};

// The samples nearest to whole seconds before the last one, in order.
std::vector<int> Chosen(const v1::SampleSeries& samples) {
  std::vector<int> chosen;
  double next = std::numeric_limits<double>::infinity();
  for (int i = samples.offset_ms_size() - 1; i >= 0; --i) {
    const double offset = samples.offset_ms(i);
    if (offset > next + kStepMs / 20) continue;
    chosen.push_back(i);
    if (std::isinf(next)) next = offset;
    // A sample that came late does not move those before it, and where some are missing so are their lines.
    next -= kStepMs * std::max(1.0, std::ceil((next - offset) / kStepMs));
  }
  std::ranges::reverse(chosen);
  return chosen;
}

struct Column {
  std::string heading;
  // Of a sample, and the one that was chosen before it (itself for the first).
  std::function<std::optional<double>(const Series&, int before, int sample)> value;
  std::string (*text)(double value);
};

std::string BytesText(double value) {
  return FigureText("_bytes", value);
}

std::string CountText(double value) {
  return fmt::format("{:.0f}", value);
}

std::vector<Column> AllColumns() {
  const auto plain = [](std::string_view metric) {
    return [metric](const Series& series, int, int sample) { return series.At(metric, sample); };
  };
  const auto rate = [](std::string_view first, std::string_view second = {}) {
    return [first, second](const Series& series, int before, int sample) {
      std::optional<double> sum = series.Rate(first, before, sample);
      if (const std::optional<double> more = series.Rate(second, before, sample)) sum = sum.value_or(0) + *more;
      return sum;
    };
  };
  return {
      {"used", plain("mem_used_percent"), Percent},
      {"available", plain("mem_limit_available_bytes"), BytesText},
      {"held", plain("runner_held_bytes"), BytesText},
      {"PSI some", plain("psi_memory_some_avg10"), Percent},
      {"PSI full", plain("psi_memory_full_avg10"), Percent},
      {"swap free", plain("swap_free_bytes"), BytesText},
      {"held in swap", plain("runner_swap_bytes"), BytesText},
      {"pages swapped in/s", rate("vm_pswpin_total"), CountText},
      {"refaults/s", rate("vm_workingset_refault_file_total", "vm_workingset_refault_anon_total"), CountText},
      {"major faults/s", rate("vm_pgmajfault_total"), CountText},
  };
}

}  // namespace

std::string LastSecondsTable(const v1::SampleSeries& samples) {
  const std::vector<int> chosen = Chosen(samples);
  if (chosen.empty()) return {};
  const Series series(samples);
  std::vector<Table::Column> headings = {{"before the end", Align::kRight}};
  std::vector<std::vector<std::string>> rows;
  for (const int sample : chosen) {
    rows.push_back({fmt::format("{:.1f} s", (series.OffsetMs(chosen.back()) - series.OffsetMs(sample)) / 1000)});
  }
  for (const Column& column : AllColumns()) {
    std::vector<std::optional<double>> values;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      values.push_back(column.value(series, chosen[i == 0 ? 0 : i - 1], chosen[i]));
    }
    if (std::ranges::none_of(values, [](const auto& value) { return value.has_value(); })) continue;
    headings.push_back({column.heading, Align::kRight});
    for (std::size_t i = 0; i < values.size(); ++i) rows[i].push_back(values[i] ? column.text(*values[i]) : "-");
  }
  Table table(std::move(headings));
  for (std::vector<std::string>& row : rows) table.AddRow(std::move(row));
  return table.Format(std::nullopt);
}

}  // namespace ballast::cli
