#include "cli/trace_file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/render/csv.h"

namespace ballast::cli {
namespace {

using std::chrono::nanoseconds;

constexpr std::size_t kMaxFileBytes = 256U << 20U;
constexpr std::size_t kMaxProblems = 10;
constexpr double kMaxBytes = 1125899906842624;  // a pebibyte, as `TracePoint.used_bytes` allows
constexpr std::chrono::hours kMaxLength(24 * 365);
constexpr std::string_view kShape = "a line is TIME,PERCENT or TIME,BYTES, for instance 5,45.5% or 5,3GiB";

// A part of a line with the place where it begins.
struct Cell {
  std::string_view text;
  std::size_t column = 1;
};

Cell Trim(Cell cell) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!cell.text.empty() && blank(cell.text.front())) {
    cell.text.remove_prefix(1);
    ++cell.column;
  }
  while (!cell.text.empty() && blank(cell.text.back())) cell.text.remove_suffix(1);
  return cell;
}

std::vector<Cell> SplitCells(std::string_view line) {
  std::vector<Cell> cells;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = std::min(line.find(',', begin), line.size());
    cells.push_back(Trim({line.substr(begin, end - begin), begin + 1}));
    if (end == line.size()) return cells;
    begin = end + 1;
  }
}

bool IsOneOf(std::string_view text, std::initializer_list<std::string_view> names) {
  return std::ranges::any_of(names, [text](std::string_view name) {
    return std::ranges::equal(text, name, {}, [](unsigned char c) { return std::tolower(c); });
  });
}

bool HasUnit(std::string_view text) {
  return !text.empty() && std::isalpha(static_cast<unsigned char>(text.back())) != 0;
}

class TraceParser {
 public:
  explicit TraceParser(std::string name) : name_(std::move(name)) {}

  absl::StatusOr<MemoryCurve> Parse(std::string_view content) {
    if (content.starts_with(render::kUtf8ByteOrderMark)) content.remove_prefix(3);
    while (!content.empty() && problems_.size() < kMaxProblems) {
      ++line_;
      const std::size_t end = std::min(content.find('\n'), content.size());
      const std::string_view line = content.substr(0, end);
      content.remove_prefix(std::min(end + 1, content.size()));
      const Cell significant = Trim({line.substr(0, line.find('#')), 1});
      if (!significant.text.empty()) ParseLine(line.substr(0, line.find('#')));
    }
    if (problems_.empty() && curve_.points.size() < 2) {
      line_ = std::max<std::size_t>(line_, 1);
      Problem(1, fmt::format("a curve has at least two points, here {} {}", curve_.points.size() == 1 ? "is" : "are",
                             curve_.points.size()));
    }
    if (problems_.empty()) return std::move(curve_);
    return absl::InvalidArgumentError(fmt::format("{}", fmt::join(problems_, "\n")));
  }

 private:
  void Problem(std::size_t column, const std::string& text) {
    problems_.push_back(fmt::format("{}:{}:{}: {}", name_, line_, column, text));
  }

  void ParseLine(std::string_view line) {
    const std::vector<Cell> cells = SplitCells(line);
    if (cells.size() != 2) {
      const Cell& place = cells.size() < 2 ? cells.front() : cells[2];
      return Problem(place.column, fmt::format("{} instead of two columns; {}", cells.size(), kShape));
    }
    const bool first = std::exchange(first_line_, false);
    if (first && !cells[0].text.empty() && std::isalpha(static_cast<unsigned char>(cells[0].text.front())) != 0) {
      return ParseHeadings(cells);
    }
    const std::optional<nanoseconds> offset = ParseOffset(cells[0]);
    const std::optional<double> value = ParseValue(cells[1]);
    if (!offset || !value) return;
    if (!curve_.points.empty() && *offset <= curve_.points.back().offset) {
      return Problem(cells[0].column, fmt::format("the time {} is not after the one before it, {}",
                                                  base::Quoted(cells[0].text), last_time_));
    }
    if (!curve_.points.empty() && *offset - curve_.points.front().offset > kMaxLength) {
      return Problem(cells[0].column, "the curve is longer than a year");
    }
    last_time_ = base::Quoted(cells[0].text);
    curve_.points.push_back({*offset, *value});
  }

  void ParseHeadings(const std::vector<Cell>& cells) {
    if (IsOneOf(cells[0].text, {"offset_ms", "time_ms"})) {
      milliseconds_ = true;
    } else if (!IsOneOf(cells[0].text, {"time", "seconds", "time_seconds", "offset", "offset_seconds"})) {
      Problem(cells[0].column, fmt::format("{} is no heading of a column of times; call it time, seconds or offset_ms",
                                           base::Quoted(cells[0].text)));
    }
    if (IsOneOf(cells[1].text, {"percent", "used_percent", "mem_used_percent"})) {
      Decide(MemoryCurve::Unit::kPercent);
    } else if (IsOneOf(cells[1].text, {"bytes", "used_bytes"})) {
      Decide(MemoryCurve::Unit::kBytes);
    } else {
      Problem(cells[1].column, fmt::format("{} is no heading of a column of memory in use; call it percent or bytes",
                                           base::Quoted(cells[1].text)));
    }
  }

  std::optional<nanoseconds> ParseOffset(const Cell& cell) {
    const std::string text = std::string(cell.text) + (milliseconds_ && !HasUnit(cell.text) ? "ms" : "");
    const absl::StatusOr<nanoseconds> offset = base::ParseDuration(text);
    if (offset.ok()) return *offset;
    Problem(cell.column, std::string(offset.status().message()));
    return std::nullopt;
  }

  void Decide(MemoryCurve::Unit unit) {
    curve_.unit = unit;
    unit_decided_ = true;
  }

  std::optional<double> ParseValue(const Cell& cell) {
    const bool percent_sign = cell.text.ends_with('%');
    const bool size = !percent_sign && HasUnit(cell.text);
    if (!unit_decided_) Decide(size ? MemoryCurve::Unit::kBytes : MemoryCurve::Unit::kPercent);
    if (curve_.unit == MemoryCurve::Unit::kPercent ? size : percent_sign) {
      Problem(cell.column, fmt::format("{} is {}; this column holds {}", base::Quoted(cell.text),
                                       size ? "a size" : "a percentage", size ? "percentages" : "bytes"));
      return std::nullopt;
    }
    return curve_.unit == MemoryCurve::Unit::kPercent ? ParsePercent(cell) : ParseSize(cell);
  }

  std::optional<double> ParsePercent(const Cell& cell) {
    const absl::StatusOr<double> percent = base::ParsePercent(cell.text);
    if (percent.ok() && *percent >= 0 && *percent <= 100) return *percent;
    Problem(cell.column, percent.ok() ? fmt::format("{} is not between 0 and 100 %", base::Quoted(cell.text))
                                      : std::string(percent.status().message()));
    return std::nullopt;
  }

  std::optional<double> ParseSize(const Cell& cell) {
    // A bare number would be mebibytes on a command line; a column of bytes holds bytes.
    const absl::StatusOr<std::uint64_t> bytes =
        base::ParseBytes(HasUnit(cell.text) ? std::string(cell.text) : std::string(cell.text) + "B");
    if (bytes.ok() && static_cast<double>(*bytes) <= kMaxBytes) return static_cast<double>(*bytes);
    Problem(cell.column, bytes.ok() ? fmt::format("{} is more than 1 PiB", base::Quoted(cell.text))
                                    : fmt::format("{} is not a number of bytes", base::Quoted(cell.text)));
    return std::nullopt;
  }

  const std::string name_;
  std::size_t line_ = 0;
  bool first_line_ = true;
  bool milliseconds_ = false;
  bool unit_decided_ = false;
  std::string last_time_;
  MemoryCurve curve_;
  std::vector<std::string> problems_;
};

}  // namespace

absl::StatusOr<MemoryCurve> ParseTraceCsv(std::string_view content, const std::string& name) {
  return TraceParser(name).Parse(content);
}

absl::StatusOr<MemoryCurve> ReadTraceFile(const std::filesystem::path& path) {
  BALLAST_ASSIGN_OR_RETURN(const std::string content, base::ReadFile(path, kMaxFileBytes));
  return ParseTraceCsv(content, path.string());
}

}  // namespace ballast::cli
