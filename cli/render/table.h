// Tables for people.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace ballast::cli {

enum class Align { kLeft, kRight };

// Rows under headings, in columns as wide as their widest cell on a terminal. Value type.
class Table {
 public:
  struct Column {
    std::string heading;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as there are columns. Cells are made printable.
  void AddRow(std::vector<std::string> cells);

  [[nodiscard]] bool empty() const { return rows_.empty(); }

  // The table, two blanks between columns, no blanks at the end of lines. With `max_columns`, the widest columns are
  // cut until a line fits.
  [[nodiscard]] std::string Format(std::optional<std::size_t> max_columns) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace ballast::cli
