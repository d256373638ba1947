#include "cli/render/variant_table.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/render/comparison.h"
#include "cli/render/table.h"
#include "cli/render/text_value.h"

namespace ballast::cli {
namespace {

struct Column {
  std::string_view title;
  std::string_view figure;
};
constexpr std::array kColumns = {
    Column{"PEAK HELD", "peak_held_bytes"},
    Column{"TO TARGET", "time_to_target_seconds"},
    Column{"FILL RATE", "fill_bytes_per_second"},
};

const v1::FigureStatistics* Find(const v1::GroupSummary& group, std::string_view figure) {
  const auto found = std::find_if(group.figures().begin(), group.figures().end(),
                                  [figure](const v1::FigureStatistics& one) { return one.name() == figure; });
  return found == group.figures().end() || found->n() == 0 ? nullptr : &*found;
}

}  // namespace

std::string VariantTable(const v1::Report& report, std::optional<std::size_t> max_columns) {
  if (report.by_variant().empty()) return {};
  std::vector<Column> shown;
  std::vector<Table::Column> columns = {{"VARIANT"}, {"RUNS", Align::kRight}};
  for (const Column& column : kColumns) {
    if (std::none_of(report.by_variant().begin(), report.by_variant().end(),
                     [&column](const v1::GroupSummary& group) { return Find(group, column.figure) != nullptr; })) {
      continue;
    }
    shown.push_back(column);
    columns.push_back({std::string(column.title), Align::kRight});
  }
  columns.push_back({"OUTCOMES"});
  Table table(std::move(columns));
  for (const v1::GroupSummary& group : report.by_variant()) {
    std::vector<std::string> cells = {group.group(), std::to_string(group.run_count())};
    for (const Column& column : shown) {
      const v1::FigureStatistics* const figure = Find(group, column.figure);
      cells.push_back(figure == nullptr ? "-" : FigureText(figure->name(), figure->median()));
    }
    cells.push_back(OutcomesText(group));
    table.AddRow(std::move(cells));
  }
  return table.Format(max_columns);
}

}  // namespace ballast::cli
