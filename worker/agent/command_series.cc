#include "worker/agent/command_series.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/logging.h"

namespace ballast::agent {
namespace {

// A result is one message: with so many bytes of tails it stays well below what one may have. Executions after that
// keep little.
constexpr std::size_t kMostTailBytes = 2U << 20U;
constexpr std::size_t kShortTailBytes = 256;
// A draft is written each second.
constexpr std::size_t kDraftTailBytes = 4096;

// The end of a tail, no character cut in two.
void Shorten(std::size_t most, std::string* tail) {
  if (tail->size() <= most) return;
  std::size_t begin = tail->size() - most;
  while (begin < tail->size() && (static_cast<unsigned char>((*tail)[begin]) & 0xc0U) == 0x80U) ++begin;
  tail->erase(0, begin);
}

}  // namespace

CommandSeries::CommandSeries(const RunExecutorOptions& options, const v1::JobSpec& spec, v1::CommandTask task,
                             const environment::LimitedGroup* limits, RunRecord* record)
    : RunnerSeries(options, spec, limits, record, RunnerRole::kProgram),
      command_(spec_.workload().command()),
      task_(std::move(task)),
      left_(command_.executions()),
      tail_bytes_left_(kMostTailBytes) {}

std::chrono::nanoseconds CommandSeries::Timeout() const {
  return base::FromProto(command_.timeout());
}

std::optional<v1::RunnerStart> CommandSeries::TakeNext() {
  --left_;
  result_.Clear();
  meter_.reset();
  result_.set_index(static_cast<std::uint32_t>(results_.size()) + 1);
  result_.set_command_id(command_.command_id());
  *result_.mutable_argv() = task_.argv();
  *result_.mutable_start_offset() = base::ToProto(record_->Elapsed());
  absl::StatusOr<std::unique_ptr<ProgramOutput>> output = ProgramOutput::Open();
  absl::StatusOr<base::Fd> nothing = base::OpenFile("/dev/null", O_RDONLY);
  if (const absl::Status status = output.ok() ? nothing.status() : output.status(); !status.ok()) {
    v1::Outcome outcome;
    outcome.set_kind(v1::WORKER_CRASHED);
    outcome.set_message(fmt::format("the program could not be started: {}", std::string(status.message())));
    Keep(std::move(outcome));
    return std::nullopt;
  }
  output_ = *std::move(output);
  nothing_ = *std::move(nothing);
  v1::RunnerStart start;
  *start.mutable_command() = task_;
  return start;
}

std::vector<base::ChildOptions::PassedFd> CommandSeries::PassedFds() {
  return {{.from = nothing_.get(), .to = STDIN_FILENO},
          {.from = output_->output_fd(), .to = STDOUT_FILENO},
          {.from = output_->error_fd(), .to = STDERR_FILENO}};
}

void CommandSeries::OnStarted() {
  output_->CloseWriters();
  nothing_.Reset();
  meter_ = std::make_unique<ProgramMeter>(
      ProgramMeter::Place{.root = options_.root,
                          .pid = runner()->pid(),
                          .own_group = environment().own_group() ? &environment().location() : nullptr});
  watched_ = {runner()->pid()};
  v1::Phase phase;
  phase.set_kind(v1::Phase::EXECUTE);
  phase.set_load_index(result_.index());
  *phase.mutable_start_offset() = result_.start_offset();
  record_->BeginPhase(std::move(phase));
}

void CommandSeries::OnReport(const v1::RunnerReport& report) {
  if (report.has_program_begin()) meter_->Begin(report.program_begin());
}

void CommandSeries::AddSample() {
  if (idle()) return;
  meter_->Sample(record_->Elapsed());
  // What its children take is the program's, and not what others do on the device.
  std::vector<pid_t> processes = meter_->Processes();
  if (processes == watched_) return;
  record_->WatchLoad(processes);
  watched_ = std::move(processes);
}

void CommandSeries::OnExit() {
  meter_->Finish(runner()->usage());
  *result_.mutable_end_offset() = base::ToProto(record_->Elapsed());
}

void CommandSeries::FillOutput(std::size_t most_tail_bytes, v1::CommandResult* result) const {
  if (!output_) return;
  ProgramOutput::Stream output = output_->Output(most_tail_bytes);
  ProgramOutput::Stream error = output_->Error(most_tail_bytes);
  result->set_output_bytes(output.bytes);
  result->set_error_bytes(error.bytes);
  *result->mutable_output_tail() = std::move(output.tail);
  *result->mutable_error_tail() = std::move(error.tail);
}

void CommandSeries::Keep(v1::Outcome outcome) {
  // What the program has left behind is gone by now, so nothing more is written.
  if (output_) output_->Finish();
  // Of a program that could not be started there are no figures: what was seen is its runner's.
  if (meter_ && outcome.kind() != v1::INVALID) meter_->Fill(&result_);
  FillOutput(std::clamp(tail_bytes_left_ / 2, kShortTailBytes, kOutputTailBytes), &result_);
  tail_bytes_left_ -= std::min(tail_bytes_left_, result_.output_tail().size() + result_.error_tail().size());
  output_.reset();
  TellEnd(v1::Event::COMMAND_ENDED,
          fmt::format("execution {} of {} of {}", result_.index(), command_.executions(), result_.command_id()),
          result_.index(), &outcome);
  *result_.mutable_outcome() = std::move(outcome);
  results_.push_back(result_);
}

void CommandSeries::Fill(bool draft, v1::RunResult* result) const {
  for (const v1::CommandResult& command : results_) {
    v1::CommandResult* const kept = result->add_commands();
    *kept = command;
    if (!draft) continue;
    SlimEvidence(kept->mutable_outcome());
    const std::size_t most = results_.size() <= 10 ? kDraftTailBytes : kShortTailBytes;
    Shorten(most, kept->mutable_output_tail());
    Shorten(most, kept->mutable_error_tail());
  }
  if (draft && !idle()) {
    v1::CommandResult* const going_on = result->add_commands();
    *going_on = result_;
    meter_->Fill(going_on);
    FillOutput(kDraftTailBytes, going_on);
  }
  FillGuardActs(result);
}

void CommandSeries::FillProgress(bool /*soak*/, v1::RunProgress* progress) const {
  progress->set_load_count(command_.executions());
  if (!idle()) progress->set_load_index(result_.index());
}

void JudgeCommands(const std::vector<v1::CommandResult>& commands, v1::Outcome* outcome) {
  if (outcome->kind() != v1::COMPLETED || commands.empty()) return;
  std::map<v1::OutcomeKind, std::uint32_t> outcomes;
  for (const v1::CommandResult& command : commands) ++outcomes[command.outcome().kind()];
  std::vector<std::string> others;
  for (const auto& [kind, count] : outcomes) {
    if (kind != v1::COMPLETED) others.push_back(fmt::format("{} {}", count, v1::OutcomeKind_Name(kind)));
  }
  const std::string counts =
      fmt::format("{} of {} executions of {} completed{}", outcomes[v1::COMPLETED], commands.size(),
                  commands.front().command_id(), others.empty() ? "" : fmt::format(" ({})", fmt::join(others, ", ")));
  const auto failed = std::ranges::find_if(
      commands, [](const v1::CommandResult& command) { return command.outcome().kind() != v1::COMPLETED; });
  if (failed == commands.end()) {
    outcome->set_message(fmt::format("{}; {}", counts, outcome->message()));
    return;
  }
  const std::string message =
      commands.size() == 1 ? failed->outcome().message()
                           : fmt::format("execution {}: {}; {}", failed->index(), failed->outcome().message(), counts);
  *outcome = failed->outcome();
  outcome->set_message(message);
}

}  // namespace ballast::agent
