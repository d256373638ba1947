#include "cli/render/comparison.h"

#include <algorithm>

#include <fmt/format.h>

#include "cli/render/table.h"
#include "cli/render/text_value.h"
#include "common/render/csv.h"

namespace ballast::cli {
namespace {

std::string GroupName(const v1::GroupSummary& group) {
  if (group.group().empty()) return group.title();
  return group.title().empty() || group.title() == group.group() ? group.group()
                                                                 : fmt::format("{} ({})", group.title(), group.group());
}

bool AnyPValue(const v1::Comparison& comparison) {
  return std::any_of(comparison.rows().begin(), comparison.rows().end(), [](const v1::ComparisonRow& row) {
    return std::any_of(row.cells().begin(), row.cells().end(),
                       [](const v1::ComparisonCell& cell) { return cell.has_p_value(); });
  });
}

}  // namespace

std::string OutcomesText(const v1::GroupSummary& group) {
  const std::uint32_t counted = group.run_count() - group.invalid_run_count();
  std::string text;
  for (const v1::OutcomeCount& count : group.outcomes()) {
    text += fmt::format("{}{} {} of {}", text.empty() ? "" : ", ", v1::OutcomeKind_Name(count.outcome()), count.count(),
                        counted);
  }
  if (text.empty() && counted > 0) text = fmt::format("none of {} ended", counted);
  if (group.invalid_run_count() == 0) return text.empty() ? "no runs" : text;
  return fmt::format("{}{}{} invalid, left out", text, text.empty() ? "" : ", ", group.invalid_run_count());
}

std::string ComparisonTable(const v1::Comparison& comparison, std::optional<std::size_t> max_columns) {
  Table groups({{"GROUP"}, {"NAME"}, {"RUNS", Align::kRight}, {"OUTCOMES"}});
  std::vector<Table::Column> columns = {{"FIGURE"}};
  const bool p_values = AnyPValue(comparison);
  for (int i = 0; i < comparison.groups_size(); ++i) {
    const v1::GroupSummary& group = comparison.groups(i);
    groups.AddRow({i == 0 ? "base" : fmt::format("{}", i), GroupName(group), std::to_string(group.run_count()),
                   OutcomesText(group)});
    columns.push_back({i == 0 ? "BASE" : fmt::format("{}", i), Align::kRight});
    columns.push_back({"N", Align::kRight});
    if (i > 0) columns.push_back({"CHANGE", Align::kRight});
    if (i > 0 && p_values) columns.push_back({"P", Align::kRight});
  }
  Table figures(std::move(columns));
  for (const v1::ComparisonRow& row : comparison.rows()) {
    std::vector<std::string> cells = {row.figure()};
    for (int i = 0; i < comparison.groups_size() && i < row.cells_size(); ++i) {
      const v1::ComparisonCell& cell = row.cells(i);
      cells.push_back(cell.n() == 0 ? "-" : FigureText(row.figure(), cell.median()));
      cells.push_back(std::to_string(cell.n()));
      if (i > 0) {
        cells.push_back(cell.has_change_percent() ? fmt::format("{:+.1f} %", cell.change_percent()) : "-");
      }
      if (i > 0 && p_values) cells.push_back(cell.has_p_value() ? Number(cell.p_value()) : "-");
    }
    figures.AddRow(std::move(cells));
  }
  std::string text = groups.Format(max_columns);
  if (!figures.empty()) text += "\n" + figures.Format(max_columns);
  return text;
}

std::string ComparisonCsv(const v1::Comparison& comparison) {
  const bool p_values = AnyPValue(comparison);
  std::string csv;
  std::vector<std::string> record = {"figure", "group", "n", "median", "change_percent"};
  if (p_values) record.emplace_back("p_value");
  render::AppendCsvRecord(record, &csv);
  for (const v1::GroupSummary& group : comparison.groups()) {
    for (const v1::OutcomeCount& count : group.outcomes()) {
      record = {"outcome:" + v1::OutcomeKind_Name(count.outcome()), group.group(),
                std::to_string(group.run_count() - group.invalid_run_count()), std::to_string(count.count()), ""};
      if (p_values) record.emplace_back();
      render::AppendCsvRecord(record, &csv);
    }
  }
  for (const v1::ComparisonRow& row : comparison.rows()) {
    for (int i = 0; i < comparison.groups_size() && i < row.cells_size(); ++i) {
      const v1::ComparisonCell& cell = row.cells(i);
      record = {row.figure(), comparison.groups(i).group(), std::to_string(cell.n()),
                cell.n() == 0 ? "" : fmt::format("{}", cell.median()),
                cell.has_change_percent() ? fmt::format("{}", cell.change_percent()) : ""};
      if (p_values) record.push_back(cell.has_p_value() ? fmt::format("{}", cell.p_value()) : "");
      render::AppendCsvRecord(record, &csv);
    }
  }
  return csv;
}

}  // namespace ballast::cli
