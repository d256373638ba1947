#include "coordinator/report/commands.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "common/jobs/variant.h"
#include "common/jobs/workload_parts.h"
#include "coordinator/report/figures.h"
#include "coordinator/report/loads.h"
#include "google/protobuf/util/message_differencer.h"

namespace ballast::report {
namespace {

using Command = v1::CommandResult;
using Value = std::optional<double>;

// Durations come from devices; protobuf's range is wider than what nanoseconds in 64 bits hold.
double Seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + static_cast<double>(duration.nanos()) / 1e9;
}

// Not of a program that did not start: what older workers say of one is its runner's.
bool Measured(const Command& command) {
  return command.peak_memory_bytes() > 0 && command.outcome().kind() != v1::INVALID;
}

// A count that may rightly be zero, of a program that ran.
Value Counted(const Command& command, std::uint64_t count) {
  return !Measured(command) ? Value() : Value(static_cast<double>(count));
}

Value IfAny(const Command& command, std::uint64_t value) {
  return value > 0 && Measured(command) ? Value(static_cast<double>(value)) : Value();
}

// Ordered by name. One entry a figure: docs/reports.md has the same list with the formulas in words.
constexpr std::array kFigures = {
    CommandFigureDefinition{"cpu_seconds",
                            [](const Command& c) -> Value {
                              if (!Measured(c)) return {};
                              return Seconds(c.user_cpu_time()) + Seconds(c.system_cpu_time());
                            }},
    CommandFigureDefinition{"disk_read_bytes", [](const Command& c) { return Counted(c, c.disk_read_bytes()); }},
    CommandFigureDefinition{"disk_write_bytes", [](const Command& c) { return Counted(c, c.disk_write_bytes()); }},
    CommandFigureDefinition{"execution_seconds",
                            [](const Command& c) -> Value {
                              if (!Measured(c) || !c.has_start_offset() || !c.has_end_offset()) return {};
                              return Seconds(c.end_offset()) - Seconds(c.start_offset());
                            }},
    CommandFigureDefinition{"major_fault_count", [](const Command& c) { return Counted(c, c.major_faults()); }},
    CommandFigureDefinition{"minor_fault_count", [](const Command& c) { return Counted(c, c.minor_faults()); }},
    CommandFigureDefinition{"output_bytes",
                            [](const Command& c) { return Counted(c, c.output_bytes() + c.error_bytes()); }},
    CommandFigureDefinition{"peak_anon_bytes", [](const Command& c) { return IfAny(c, c.peak_anon_bytes()); }},
    CommandFigureDefinition{"peak_file_bytes", [](const Command& c) { return IfAny(c, c.peak_file_bytes()); }},
    CommandFigureDefinition{"peak_memory_bytes", [](const Command& c) { return IfAny(c, c.peak_memory_bytes()); }},
    CommandFigureDefinition{"peak_resident_bytes", [](const Command& c) { return IfAny(c, c.peak_resident_bytes()); }},
    CommandFigureDefinition{"peak_swap_bytes", [](const Command& c) { return Counted(c, c.peak_swap_bytes()); }},
    CommandFigureDefinition{
        "refault_bytes",
        [](const Command& c) { return c.scope() == Command::CGROUP ? Counted(c, c.refault_bytes()) : Value(); }},
    CommandFigureDefinition{
        "stall_full_seconds",
        [](const Command& c) { return c.has_stall_full_time() ? Value(Seconds(c.stall_full_time())) : Value(); }},
    CommandFigureDefinition{
        "stall_some_seconds",
        [](const Command& c) { return c.has_stall_some_time() ? Value(Seconds(c.stall_some_time())) : Value(); }},
};
static_assert(std::ranges::is_sorted(kFigures, {}, &CommandFigureDefinition::name));

}  // namespace

std::span<const CommandFigureDefinition> AllCommandFigures() {
  return kFigures;
}

std::vector<v1::Figure> ComputeCommandFigures(const v1::CommandResult& command) {
  std::vector<v1::Figure> figures;
  for (const CommandFigureDefinition& definition : kFigures) {
    const Value value = definition.compute(command);
    if (!value.has_value() || !std::isfinite(*value)) continue;
    v1::Figure& figure = figures.emplace_back();
    figure.set_name(std::string(definition.name));
    figure.set_value(*value);
  }
  return figures;
}

void CommandExecutions::Add(const v1::Run& run, const v1::Job& job) {
  const v1::Attempt* attempt = LastAttempt(run);
  if (run.state() != v1::Run::ENDED || attempt == nullptr) return;
  const v1::JobSpec spec = jobs::SpecOf(job.spec(), run);
  for (const v1::CommandResult& command : attempt->result().commands()) {
    // One that was cut off in the middle of everything has no end to count.
    if (!command.has_outcome()) continue;
    v1::CommandSummary conditions;
    conditions.set_command_id(command.command_id());
    *conditions.mutable_argv() = command.argv();
    conditions.set_environment(spec.environment());
    if (const auto* pressure = jobs::PressureOf(spec.workload())) *conditions.mutable_pressure() = *pressure;
    auto group = std::ranges::find_if(groups_, [&conditions](const Group& known) {
      return google::protobuf::util::MessageDifferencer::Equals(known.conditions, conditions);
    });
    if (group == groups_.end()) {
      groups_.emplace_back().conditions = std::move(conditions);
      group = std::prev(groups_.end());
    }
    const std::vector<v1::Figure> figures = ComputeCommandFigures(command);
    group->all.Add(command.outcome().kind(), figures);
    group->by_device[run.device_id()].Add(command.outcome().kind(), figures);
  }
}

std::vector<v1::CommandSummary> CommandExecutions::Summarize() const {
  std::vector<v1::CommandSummary> summaries;
  for (const Group& group : groups_) {
    const auto add = [&](const std::string& device_id, const SurvivalAccumulator& executions) {
      v1::CommandSummary& summary = summaries.emplace_back(group.conditions);
      summary.set_device_id(device_id);
      summary.set_execution_count(executions.count());
      executions.Fill(&summary);
    };
    add("", group.all);
    for (const auto& [device_id, executions] : group.by_device) add(device_id, executions);
  }
  return summaries;
}

}  // namespace ballast::report
