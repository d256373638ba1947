#include "cli/render/table.h"

#include <algorithm>
#include <numeric>

#include "cli/render/text_width.h"

namespace ballast::cli {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowest = 6;

void AppendCell(std::string_view cell, std::size_t width, Align align, bool last, std::string* line) {
  const std::string text = Truncate(cell, width);
  const std::string padding(width - std::min(width, DisplayWidth(text)), ' ');
  if (align == Align::kRight) *line += padding;
  *line += text;
  if (align == Align::kLeft && !last) *line += padding;
  if (!last) line->append(kGap, ' ');
}

}  // namespace

void Table::AddRow(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::Format(std::optional<std::size_t> max_columns) const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width = DisplayWidth(columns_[i].heading);
    for (const auto& row : rows_) width = std::max(width, DisplayWidth(row[i]));
    widths.push_back(width);
  }
  if (max_columns.has_value() && !widths.empty()) {
    const std::size_t gaps = kGap * (widths.size() - 1);
    std::size_t total = std::accumulate(widths.begin(), widths.end(), gaps);
    while (total > *max_columns) {
      const auto widest = std::max_element(widths.begin(), widths.end());
      if (*widest <= kNarrowest) break;
      --*widest;
      --total;
    }
  }
  std::string text;
  const auto append_line = [&](const auto& cell_of) {
    std::string line;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      AppendCell(cell_of(i), widths[i], columns_[i].align, i + 1 == columns_.size(), &line);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  };
  append_line([&](std::size_t i) -> const std::string& { return columns_[i].heading; });
  for (const auto& row : rows_) append_line([&](std::size_t i) -> const std::string& { return row[i]; });
  return text;
}

}  // namespace ballast::cli
