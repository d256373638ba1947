#include "cli/render/command_tables.h"

#include <fmt/format.h>

#include "cli/render/table.h"
#include "cli/render/text_value.h"
#include "cli/render/text_width.h"
#include "common/base/clock.h"
#include "common/base/units.h"

namespace ballast::cli {
namespace {

std::string Duration(const google::protobuf::Duration& duration) {
  return base::FormatDuration(base::FromProto(duration));
}

std::string Time(const v1::CommandResult& command) {
  if (!command.has_start_offset() || !command.has_end_offset()) return "-";
  return base::FormatDuration(base::FromProto(command.end_offset()) - base::FromProto(command.start_offset()));
}

// Nothing was measured of a program that did not start; what its runner took until it gave up is not the program's.
bool Measured(const v1::CommandResult& command) {
  return command.peak_memory_bytes() > 0 && command.outcome().kind() != v1::INVALID;
}

// `exit 3`, `signal 11`.
std::string End(const v1::CommandResult& command) {
  const v1::Evidence& evidence = command.outcome().evidence();
  if (evidence.signal() != 0) return fmt::format("signal {}", evidence.signal());
  return command.has_end_offset() && Measured(command) ? fmt::format("exit {}", evidence.exit_code()) : "-";
}

std::string Bytes(const v1::CommandResult& command, std::uint64_t bytes) {
  return Measured(command) ? base::FormatBytes(bytes) : "-";
}

// The last attempt's; none where there is no attempt.
const google::protobuf::RepeatedPtrField<v1::CommandResult>& CommandsOf(const v1::Run& run) {
  return run.attempts().empty() ? v1::RunResult::default_instance().commands()
                                : run.attempts(run.attempts_size() - 1).result().commands();
}

std::string Tail(const char* name, const v1::CommandResult& command, const std::string& tail) {
  std::string text;
  for (const std::string& line : TailLines(tail)) text += fmt::format("  | {}\n", Printable(line));
  return text.empty() ? text : fmt::format("{} of execution {}:\n{}", name, command.index(), text);
}

}  // namespace

std::string ExecutionText(const v1::CommandResult& command) {
  std::string text =
      fmt::format("{:>3}  {} after {}", command.index(),
                  command.has_outcome() ? v1::OutcomeKind_Name(command.outcome().kind()) : "cut off", Time(command));
  if (!command.outcome().message().empty()) text += ": " + command.outcome().message();
  if (!Measured(command)) return text;
  text += fmt::format(
      "; peak {} ({}), resident {}, anonymous {}, files {}, swapped {}; {} minor and {} major faults; read {}, written "
      "{}; "
      "processor {} user and {} system",
      base::FormatBytes(command.peak_memory_bytes()),
      command.scope() == v1::CommandResult::CGROUP ? "cgroup" : "process group",
      base::FormatBytes(command.peak_resident_bytes()), base::FormatBytes(command.peak_anon_bytes()),
      base::FormatBytes(command.peak_file_bytes()), base::FormatBytes(command.peak_swap_bytes()),
      command.minor_faults(), command.major_faults(), base::FormatBytes(command.disk_read_bytes()),
      base::FormatBytes(command.disk_write_bytes()), Duration(command.user_cpu_time()),
      Duration(command.system_cpu_time()));
  if (command.has_stall_some_time()) text += fmt::format("; stalled {}", Duration(command.stall_some_time()));
  return text;
}

std::string ExecutionTable(const std::vector<const v1::RunReport*>& runs, std::optional<std::size_t> max_columns) {
  Table table({{"RUN"},
               {"#", Align::kRight},
               {"COMMAND"},
               {"OUTCOME"},
               {"END"},
               {"TIME", Align::kRight},
               {"PEAK", Align::kRight},
               {"RESIDENT", Align::kRight},
               {"ANONYMOUS", Align::kRight},
               {"MAJOR FAULTS", Align::kRight},
               {"READ", Align::kRight},
               {"CPU", Align::kRight}});
  for (const v1::RunReport* entry : runs) {
    for (const v1::CommandResult& command : CommandsOf(entry->run())) {
      const std::chrono::nanoseconds cpu =
          base::FromProto(command.user_cpu_time()) + base::FromProto(command.system_cpu_time());
      table.AddRow({entry->run().run_id(), std::to_string(command.index()), command.command_id(),
                    command.has_outcome() ? v1::OutcomeKind_Name(command.outcome().kind()) : "-", End(command),
                    Time(command), Bytes(command, command.peak_memory_bytes()),
                    Bytes(command, command.peak_resident_bytes()), Bytes(command, command.peak_anon_bytes()),
                    Measured(command) ? std::to_string(command.major_faults()) : "-",
                    Bytes(command, command.disk_read_bytes()), Measured(command) ? base::FormatDuration(cpu) : "-"});
    }
  }
  return table.empty() ? std::string() : table.Format(max_columns);
}

std::string SurvivalText(const v1::Report& report) {
  std::string text;
  bool several = false;
  for (const v1::CommandSummary& summary : report.commands()) {
    if (!summary.device_id().empty()) continue;
    several = several || summary.execution_count() > 1;
    text += fmt::format("{}: {} of {} executions survived", Printable(summary.command_id()), summary.survived_count(),
                        summary.execution_count());
    text += summary.outcomes().empty() ? "\n" : fmt::format(" ({})\n", OutcomeCounts(summary.outcomes()));
  }
  return several ? "\n" + text : std::string();
}

std::vector<std::string> TailLines(const std::string& tail, std::size_t most) {
  std::vector<std::string> lines;
  std::size_t end = tail.ends_with('\n') ? tail.size() - 1 : tail.size();
  while (end > 0 && lines.size() < most) {
    const std::size_t newline = tail.rfind('\n', end - 1);
    const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
    lines.insert(lines.begin(), tail.substr(begin, end - begin));
    if (newline == std::string::npos) break;
    end = newline;
  }
  return lines;
}

std::string FailedOutputText(const v1::Run& run) {
  std::string text;
  for (const v1::CommandResult& command : CommandsOf(run)) {
    if (command.outcome().kind() == v1::COMPLETED) continue;
    text += Tail("standard output", command, command.output_tail());
    text += Tail("standard error", command, command.error_tail());
  }
  return text;
}

}  // namespace ballast::cli
