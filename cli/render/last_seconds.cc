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

// Between lines: a second, or less where the load was there for a few seconds only.
constexpr double kStepMs = 1000;
constexpr double kShortStepMs = 200;
constexpr double kShortLoadMs = 3000;
constexpr std::size_t kShortRows = 15;

constexpr std::string_view kHeld = "runner_held_bytes";

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

// The last sample with a load. Where the samples know of none, the last of all.
int EndOfLoad(const Series& series, int count) {
  for (int i = count - 1; i >= 0; --i) {
    if (series.At(kHeld, i)) return i;
  }
  return count - 1;
}

double StepMs(const Series& series, int end) {
  int begin = end;
  while (begin > 0 && series.At(kHeld, begin - 1).value_or(0) > 0) --begin;
  const bool is_short = begin < end && series.OffsetMs(end) - series.OffsetMs(begin) < kShortLoadMs;
  return is_short ? kShortStepMs : kStepMs;
}

// The samples nearest to whole steps before the end of the load, in order.
std::vector<int> Chosen(const Series& series, int end) {
  const double step = StepMs(series, end);
  std::vector<int> chosen;
  double next = std::numeric_limits<double>::infinity();
  for (int i = end; i >= 0; --i) {
    const double offset = series.OffsetMs(i);
    if (offset > next + step / 20) continue;
    chosen.push_back(i);
    if (std::isinf(next)) next = offset;
    // A sample that came late does not move those before it, and where some are missing so are their lines.
    next -= step * std::max(1.0, std::ceil((next - offset) / step));
    if (step < kStepMs && chosen.size() > kShortRows) break;
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
      {"held", plain(kHeld), BytesText},
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
  const Series series(samples);
  const int count = samples.offset_ms_size();
  const int end = EndOfLoad(series, count);
  std::vector<int> chosen = Chosen(series, end);
  if (chosen.empty()) return {};
  std::vector<Table::Column> headings = {{"before the end", Align::kRight}};
  std::vector<std::vector<std::string>> rows;
  for (const int sample : chosen) {
    rows.push_back({fmt::format("{:.1f} s", (series.OffsetMs(end) - series.OffsetMs(sample)) / 1000)});
  }
  // How the device is without it.
  if (end < count - 1) {
    chosen.push_back(count - 1);
    rows.push_back({"after"});
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
