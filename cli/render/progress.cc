#include "cli/render/progress.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include <fmt/format.h>

#include "cli/render/list_fields.h"
#include "cli/render/text_value.h"
#include "cli/render/text_width.h"
#include "common/base/clock.h"
#include "common/base/units.h"

namespace ballast::cli {
namespace {

constexpr std::size_t kBarColumns = 20;
constexpr auto kRedrawInterval = std::chrono::milliseconds(100);

std::string PhaseName(v1::Phase::Kind phase) {
  if (phase == v1::Phase::KIND_UNSPECIFIED) return "starting";
  std::string name = v1::Phase::Kind_Name(phase);
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

// `used` percent as a bar, with a mark where the target is.
std::string UsedBar(double used, double target) {
  const auto position = [](double percent) {
    return static_cast<std::size_t>(
        std::lround(std::clamp(percent, 0.0, 100.0) / 100.0 * static_cast<double>(kBarColumns)));
  };
  std::string bar(position(used), '#');
  bar.resize(kBarColumns, '-');
  if (target > 0) bar[std::min(position(target), kBarColumns - 1)] = '|';
  return "[" + bar + "]";
}

// The target that a burst has where it is no percentage; empty where there is none.
std::string OtherTarget(const v1::Workload& workload) {
  const v1::PressureWorkload& pressure = workload.has_command() ? workload.command().pressure() : workload.pressure();
  const v1::BurstPattern& burst = pressure.burst();
  if (burst.has_target_bytes()) return " of " + base::FormatBytes(burst.target_bytes());
  if (burst.has_target_psi()) return " for " + StallText(burst.target_psi());
  return {};
}

// What is loaded, or brought onto the device: `cycle 5  load 2 of 9 at Q4_K_M  `; empty where there is no model.
std::string ModelText(const v1::RunProgress& progress) {
  std::string text;
  if (progress.cycle() > 0) text += fmt::format("cycle {}  ", progress.cycle());
  const std::string quant = Printable(progress.quant());
  if (progress.phase() == v1::Phase::PREPARE && !quant.empty()) {
    text += quant + " is made ready";
    if (progress.prepare_bytes() > 0) {
      text += fmt::format(": {} of {}", base::FormatBytes(progress.prepared_bytes()),
                          base::FormatBytes(progress.prepare_bytes()));
    }
    return text + "  ";
  }
  if (progress.load_index() == 0) return text;
  text +=
      progress.load_count() > 0 ? fmt::format("load {} of {}", progress.load_index(), progress.load_count()) : "load";
  text += fmt::format(" at {}", quant);
  if (progress.load_resident_bytes() > 0) {
    text += fmt::format(" ({} resident)", base::FormatBytes(progress.load_resident_bytes()));
  }
  return text + "  ";
}

std::string Figures(const v1::RunProgress& progress, const v1::Workload& workload) {
  std::string text =
      (workload.has_command() ? std::string() : ModelText(progress)) + "used " + Percent(progress.used_percent());
  const bool loading = progress.phase() == v1::Phase::RAMP || progress.phase() == v1::Phase::HOLD;
  if (const std::string other = OtherTarget(workload); loading && !other.empty()) {
    text += other;
  } else if (progress.target_percent() > 0) {
    text += " of " + Percent(progress.target_percent());
  }
  text += fmt::format("  held {}  available {}", base::FormatBytes(progress.held_bytes()),
                      base::FormatBytes(progress.available_bytes()));
  if (workload.has_command() && progress.load_index() > 0) {
    text += fmt::format("  execution {} of {}  program {}", progress.load_index(), progress.load_count(),
                        base::FormatBytes(progress.load_resident_bytes()));
  }
  if (progress.has_psi_some_avg10()) text += "  psi " + Percent(progress.psi_some_avg10());
  return text;
}

std::string Elapsed(const v1::RunProgress& progress) {
  std::string text = Stopwatch(progress.elapsed());
  if (!progress.has_planned()) return text;
  text += "/" + Stopwatch(progress.planned());
  // Of a soak that is what people look for: it goes on for hours, and over several attempts.
  if (progress.cycle() > 0) {
    const auto left = base::FromProto(progress.planned()) - base::FromProto(progress.elapsed());
    text += fmt::format(", {} left", Stopwatch(base::ToProto(std::max(left, std::chrono::nanoseconds(0)))));
  }
  return text;
}

std::string RunName(const v1::Run& run) {
  std::string name = fmt::format("{} on {}", run.run_id(), run.device_id());
  if (run.repetition() > 1) name += fmt::format(" (repetition {})", run.repetition());
  return Printable(name);
}

bool GoesOn(const v1::Run& run) {
  return run.state() == v1::Run::ASSIGNED || run.state() == v1::Run::RUNNING;
}

std::string OutcomeText(const v1::Run& run) {
  const std::string kind = v1::OutcomeKind_Name(run.outcome().kind());
  return run.outcome().message().empty() ? kind : fmt::format("{}: {}", kind, Printable(run.outcome().message()));
}

}  // namespace

std::vector<std::string> JobProgress::Apply(const v1::JobUpdate& update) {
  switch (update.content_case()) {
    case v1::JobUpdate::kJob:
      return ApplyJob(update.job());
    case v1::JobUpdate::kRun:
      return ApplyRun(update.run());
    case v1::JobUpdate::kProgress:
      return ApplyProgress(update.progress());
    default:
      return {};  // something that a newer coordinator says
  }
}

std::vector<std::string> JobProgress::ApplyJob(const v1::Job& job) {
  const v1::Job::State before = job_.state();
  const bool cancel_before = job_.cancel_requested();
  job_ = job;
  std::vector<std::string> lines = StateLines(before, cancel_before);
  if (job_.state() == v1::Job::QUEUED) {
    for (std::string& line : WaitLines()) lines.push_back(std::move(line));
  } else if (FirstWait() != wait_told_) {
    // Between two runs there is a moment of waiting, too, that is not worth a line: ApplyWaitReasons finds what lasts.
    wait_told_.reset();
  }
  return lines;
}

std::vector<std::string> JobProgress::StateLines(v1::Job::State before, bool cancel_before) const {
  if (job_.state() == before && job_.cancel_requested() == cancel_before) return {};
  switch (job_.state()) {
    case v1::Job::QUEUED:
      return {fmt::format("{}: {} queued, {} run{}", job_.job_id(), WorkloadName(job_.spec().workload()),
                          job_.run_count(), job_.run_count() == 1 ? "" : "s")};
    case v1::Job::RUNNING:
      return {fmt::format("{}: {}", job_.job_id(), job_.cancel_requested() ? "being cancelled" : "running")};
    case v1::Job::FINISHED:
    case v1::Job::CANCELLED:
      return {fmt::format("{}: {}, {} of {} runs ended as expected", job_.job_id(),
                          job_.state() == v1::Job::FINISHED ? "finished" : "cancelled", job_.expected_run_count(),
                          job_.run_count())};
    default:
      return {};
  }
}

std::vector<std::string> JobProgress::ApplyWaitReasons(const v1::Job& job) {
  *job_.mutable_wait_reasons() = job.wait_reasons();
  return OnlyWaits() ? WaitLines() : std::vector<std::string>{};
}

std::optional<JobProgress::WaitSubject> JobProgress::FirstWait() const {
  if (job_.wait_reasons().empty()) return std::nullopt;
  return WaitSubject(job_.wait_reasons(0).kind(), job_.wait_reasons(0).device_id());
}

std::vector<std::string> JobProgress::WaitLines() {
  std::optional<WaitSubject> first = FirstWait();
  if (first == wait_told_) return {};
  wait_told_ = std::move(first);
  if (!wait_told_) return {};
  return {fmt::format("{}: waits: {}", job_.job_id(), Printable(WaitText(job_)))};
}

void JobProgress::Count(const v1::Run& run, int change) {
  if (run.state() == v1::Run::QUEUED) waiting_ += change;
  if (GoesOn(run)) going_on_ += change;
}

std::vector<std::string> JobProgress::ApplyRun(const v1::Run& run) {
  RunState& state = runs_[{run.run_id().size(), run.run_id()}];
  const v1::Run::State before = state.run.state();
  const int attempts_before = state.run.attempts_size();
  Count(state.run, -1);
  state.run = run;
  Count(state.run, 1);
  if (before == v1::Run::QUEUED && GoesOn(run)) {
    // Whatever its device was waited for is over, and no update of the job need say so.
    auto& reasons = *job_.mutable_wait_reasons();
    reasons.erase(
        std::remove_if(reasons.begin(), reasons.end(),
                       [&run](const v1::WaitReason& reason) { return reason.device_id() == run.device_id(); }),
        reasons.end());
  }
  if (run.state() == v1::Run::ENDED) {
    state.progress.Clear();
    if (before != v1::Run::ENDED) return {fmt::format("{}: {}", RunName(run), OutcomeText(run))};
  } else if (run.attempts_size() > std::max(attempts_before, 1)) {
    return {fmt::format("{}: attempt {}", RunName(run), run.attempts_size())};
  } else if (run.state() == v1::Run::RUNNING && before != v1::Run::RUNNING) {
    return {fmt::format("{}: running", RunName(run))};
  }
  return {};
}

std::vector<std::string> JobProgress::ApplyProgress(const v1::RunProgress& progress) {
  const auto found = runs_.find({progress.run_id().size(), progress.run_id()});
  if (found == runs_.end() || found->second.run.state() == v1::Run::ENDED) return {};
  RunState& state = found->second;
  const bool changed = progress.phase() != v1::Phase::KIND_UNSPECIFIED &&
                       (state.progress.phase() != progress.phase() ||
                        (progress.load_index() > 0 && state.progress.load_index() != progress.load_index()));
  state.progress = progress;
  if (!changed) return {};
  return {fmt::format("{}: {} at {}  {}", RunName(state.run), PhaseName(progress.phase()), Elapsed(progress),
                      Figures(progress, job_.spec().workload()))};
}

std::vector<v1::Run> JobProgress::Runs() const {
  std::vector<v1::Run> runs;
  for (const auto& [key, state] : runs_) runs.push_back(state.run);
  return runs;
}

std::vector<std::string> JobProgress::Picture(std::size_t columns, std::size_t rows) const {
  std::vector<std::string> lines;
  if (job_.job_id().empty() || rows == 0) return lines;
  const std::string title = Printable(job_.spec().display_name());
  std::vector<const RunState*> going_on;
  for (const auto& [key, state] : runs_) {
    if (GoesOn(state.run)) going_on.push_back(&state);
  }
  lines.push_back(fmt::format("{}  {}{}  {} of {} runs ended{}{}", job_.job_id(), WorkloadName(job_.spec().workload()),
                              title.empty() ? "" : " \"" + title + "\"", job_.ended_run_count(), job_.run_count(),
                              waiting_ > 0 ? fmt::format(", {} waiting", waiting_) : "",
                              job_.cancel_requested() ? ", being cancelled" : ""));
  // Where there is little room the runs that go on are worth more.
  if (waiting_ > 0 && !job_.wait_reasons().empty() && rows > (going_on.empty() ? 1U : 2U)) {
    lines.push_back("waits: " + Printable(WaitText(job_)));
  }
  std::size_t name_columns = 0;
  for (const RunState* state : going_on)
    name_columns = std::max(name_columns, DisplayWidth(Printable(state->run.device_id())));
  name_columns = std::min(name_columns, columns / 4);
  std::size_t left = going_on.size();
  for (const RunState* state : going_on) {
    if (lines.size() == rows) break;
    if (lines.size() + 1 == rows && left > 1) {
      lines.push_back(fmt::format("… and {} more", left));
      break;
    }
    --left;
    std::string name = Truncate(Printable(state->run.device_id()), name_columns);
    name.append(name_columns - DisplayWidth(name), ' ');
    const v1::RunProgress& progress = state->progress;
    lines.push_back(progress.run_id().empty()
                        ? fmt::format("{}  starting", name)
                        : fmt::format("{}  {:<8} {} {}  {}", name, PhaseName(progress.phase()),
                                      UsedBar(progress.used_percent(), progress.target_percent()), Elapsed(progress),
                                      Figures(progress, job_.spec().workload())));
  }
  for (std::string& line : lines) line = Truncate(line, columns);
  return lines;
}

ProgressPrinter::ProgressPrinter(std::ostream& out, const Terminal& terminal, const base::Clock& clock)
    : out_(out), terminal_(terminal), clock_(clock) {}

ProgressPrinter::~ProgressPrinter() {
  Erase();
}

void ProgressPrinter::Update(const v1::JobUpdate& update) {
  const std::vector<std::string> changes = progress_.Apply(update);
  if (!terminal_.err_is_live) {
    for (const std::string& line : changes) out_ << line << '\n';
    if (!changes.empty()) out_ << std::flush;
    return;
  }
  // Only ends are worth a line that stays; everything else is in the picture.
  const bool ended = update.has_run() && update.run().state() == v1::Run::ENDED && !changes.empty();
  if (ended) {
    Note(changes.front());
  } else {
    DrawOrOwe();
  }
}

bool ProgressPrinter::UpdateWaitReasons(const v1::Job& job) {
  const std::string before = WaitText(progress_.job());
  const std::vector<std::string> changes = progress_.ApplyWaitReasons(job);
  const bool changed = WaitText(progress_.job()) != before;
  if (!terminal_.err_is_live) {
    for (const std::string& line : changes) out_ << line << '\n' << std::flush;
  } else if (changed) {
    DrawOrOwe();
  }
  return changed;
}

std::optional<std::chrono::nanoseconds> ProgressPrinter::redraw_due() const {
  if (!owed_) return std::nullopt;
  return drawn_at_ + kRedrawInterval;
}

void ProgressPrinter::DrawOwed() {
  if (owed_) DrawOrOwe();
}

void ProgressPrinter::DrawOrOwe() {
  owed_ = clock_.Monotonic() - drawn_at_ < kRedrawInterval;
  if (owed_) return;
  Erase();
  Draw();
}

void ProgressPrinter::Note(const std::string& line) {
  Erase();
  out_ << line << '\n' << std::flush;
  if (terminal_.err_is_live) Draw();
}

void ProgressPrinter::Erase() {
  if (drawn_lines_ == 0) return;
  // Up to the first line of the picture, then everything below goes.
  out_ << fmt::format("\x1b[{}A\r\x1b[J", drawn_lines_) << std::flush;
  drawn_lines_ = 0;
}

void ProgressPrinter::Draw() {
  // One column and one row less, so that no terminal wraps or scrolls by itself.
  const auto columns = static_cast<std::size_t>(std::max(terminal_.err_columns, 20) - 1);
  const auto rows = static_cast<std::size_t>(std::max(terminal_.err_rows, 3) - 1);
  const std::vector<std::string> lines = progress_.Picture(columns, rows);
  for (const std::string& line : lines) out_ << line << '\n';
  out_ << std::flush;
  drawn_lines_ = lines.size();
  drawn_at_ = clock_.Monotonic();
  owed_ = false;
}

}  // namespace ballast::cli
