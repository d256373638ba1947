// Lists of messages in the three forms of --output.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/context.h"
#include "cli/render/table.h"
#include "common/render/csv.h"
#include "common/render/json.h"
#include "google/protobuf/message.h"

namespace ballast::cli {

enum class OutputFormat { kTable, kJson, kCsv };

// `table`, `json` or `csv`. INVALID_ARGUMENT names --output and the nearest.
[[nodiscard]] absl::StatusOr<OutputFormat> ParseOutputFormat(const std::string& text);

// One column of a list: how a person reads it, and how a program does (the same where only one printer is given).
template <typename Item>
class Field {
 public:
  using Printer = std::function<std::string(const Item&)>;

  // `name`: the heading in CSV, snake_case with unit suffix. `heading`: for people; empty keeps it out of the table.
  Field(std::string name, std::string heading, Align align, Printer text) : Field(name, heading, align, text, text) {}
  Field(std::string name, std::string heading, Align align, Printer text, Printer raw)
      : name_(std::move(name)), column_{std::move(heading), align}, text_(std::move(text)), raw_(std::move(raw)) {}

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const Table::Column& column() const { return column_; }
  [[nodiscard]] std::string text(const Item& item) const { return text_(item); }
  [[nodiscard]] std::string raw(const Item& item) const { return raw_(item); }

 private:
  std::string name_;
  Table::Column column_;
  Printer text_;
  Printer raw_;
};

// Width that tables are cut to: the terminal's, where standard output is one.
[[nodiscard]] inline std::optional<std::size_t> TableWidth(const Context& context) {
  if (!context.terminal.out_is_terminal) return std::nullopt;
  return static_cast<std::size_t>(context.terminal.out_columns);
}

inline void PrintJson(const google::protobuf::Message& message, Context& context) {
  context.out << render::ToJson(message) << '\n';
}

// Prints items as a table or as CSV (with a record of headings). For JSON use PrintJson with the whole message.
template <typename Items, typename Item>
void PrintRecords(const Items& items, const std::vector<Field<Item>>& fields, OutputFormat format, Context& context) {
  if (format == OutputFormat::kCsv) {
    std::string csv;
    std::vector<std::string> record;
    for (const auto& field : fields) record.push_back(field.name());
    render::AppendCsvRecord(record, &csv);
    for (const Item& item : items) {
      record.clear();
      for (const auto& field : fields) record.push_back(field.raw(item));
      render::AppendCsvRecord(record, &csv);
    }
    context.out << csv;
    return;
  }
  std::vector<Table::Column> columns;
  for (const auto& field : fields) {
    if (!field.column().heading.empty()) columns.push_back(field.column());
  }
  Table table(std::move(columns));
  for (const Item& item : items) {
    std::vector<std::string> cells;
    for (const auto& field : fields) {
      if (!field.column().heading.empty()) cells.push_back(field.text(item));
    }
    table.AddRow(std::move(cells));
  }
  context.out << table.Format(TableWidth(context));
}

}  // namespace ballast::cli
