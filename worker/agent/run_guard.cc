#include "worker/agent/run_guard.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/jobs/workload_parts.h"
#include "common/os/procfs.h"

namespace ballast::agent {
namespace {

using std::chrono::nanoseconds;

constexpr std::size_t kMaxNotes = 64;  // that wait to be collected
constexpr std::size_t kMaxActs = 500;  // the events have all of them
// Of a load that has no floor of its own.
constexpr double kUsualFloorPercent = 5;

guard::Thresholds ThresholdsFor(const v1::JobSpec& spec) {
  const v1::PressureWorkload* const pressure = jobs::PressureOf(spec.workload());
  if (pressure == nullptr) return guard::ThresholdsOf(spec.guard(), kUsualFloorPercent, 0);
  const v1::BurstPattern& burst = pressure->burst();
  const double stall = burst.has_target_psi() ? burst.target_psi().percent() : 0;
  return guard::ThresholdsOf(spec.guard(), pressure->floor_percent(), stall);
}

}  // namespace

bool IsGuarded(const v1::JobSpec& spec) {
  if (spec.guard().mode() == v1::GuardSpec::OFF) return false;
  const v1::PressureWorkload* const pressure = jobs::PressureOf(spec.workload());
  return pressure == nullptr || pressure->allocate_full().until() != v1::AllocateFullPattern::OOM;
}

absl::StatusOr<std::unique_ptr<RunGuard>> RunGuard::Prepare(const v1::JobSpec& spec, const std::string& root,
                                                            const os::CgroupLocation& place, const base::Clock* clock,
                                                            nanoseconds attempt_start, bool can_shrink) {
  std::unique_ptr<RunGuard> guard(new RunGuard(clock, attempt_start));
  guard->root_ = root;
  guard->wake_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!guard->wake_.valid()) return base::ErrnoStatus(errno, "eventfd");
  if (!IsGuarded(spec)) return guard;
  const v1::PressureWorkload* const pressure = jobs::PressureOf(spec.workload());
  guard->holds_shmem_ = can_shrink && pressure != nullptr && pressure->memory_kind() == v1::SHARED;
  guard::GuardOptions& options = guard->options_.emplace();
  options.thresholds = ThresholdsFor(spec);
  options.thresholds.can_shrink = can_shrink;
  options.root = root;
  options.place = place;
  options.clock = clock;
  BALLAST_ASSIGN_OR_RETURN(guard->guard_, guard::MemoryGuard::Open(options, guard.get(), guard.get()));
  base::Log().debug("guard: {}", guard->guard_->means());
  return guard;
}

RunGuard::RunGuard(const base::Clock* clock, nanoseconds attempt_start)
    : clock_(clock), attempt_start_(attempt_start), buffer_(os::kReadBufferBytes) {
  notes_.reserve(kMaxNotes);
  collected_.reserve(kMaxNotes);
}

RunGuard::~RunGuard() = default;

void RunGuard::Start(runner::RunnerProcess* runner) {
  if (!guard_) return;
  runner_ = runner;
  const std::string_view separator = root_.ends_with('/') ? "" : "/";
  runner_status_ = os::FileReader::OpenOptional(fmt::format("{}{}proc/{}/status", root_, separator, runner->pid()));
  guard_->Start();
}

void RunGuard::Stop() {
  if (guard_) guard_->Stop();
}

void RunGuard::Resume() {
  if (!options_) return;
  guard_.reset();
  absl::StatusOr<std::unique_ptr<guard::MemoryGuard>> guard = guard::MemoryGuard::Open(*options_, this, this);
  if (!guard.ok()) {
    base::Log().warn("the device is not guarded any more: {}", std::string(guard.status().message()));
    return;
  }
  guard_ = *std::move(guard);
  guard_->Start();
}

// The rest of the first half runs on the guard's thread.

std::optional<std::uint64_t> RunGuard::HeldBytes() {
  const std::optional<std::string_view> text = runner_status_.Read(buffer_);
  if (!text) return std::nullopt;
  const os::ProcessStatus status = os::ParseProcessStatus(*text);
  if (!status.resident) return std::nullopt;  // it has ended
  // Shared memory that is swapped out is not in the process's count of what it has swapped out.
  const std::uint64_t shmem = status.resident_shmem.value_or(0);
  const std::uint64_t swapped_shmem = holds_shmem_ ? std::max(told_held_bytes_.load(), shmem) - shmem : 0;
  return *status.resident + status.swapped.value_or(0) + swapped_shmem;
}

void RunGuard::AskToShrink(std::uint64_t bytes, nanoseconds pause) {
  // A runner that cannot be asked does not become smaller: the next rung follows.
  (void)runner_->RequestShrink(bytes, pause);
}

void RunGuard::AskToRelease() {
  (void)runner_->RequestStop();
}

void RunGuard::Kill() {
  runner_->Kill();
}

void RunGuard::OnAct(const guard::Act& act) {
  Note note;
  note.act = act;
  Leave(note);
}

void RunGuard::OnTrigger(nanoseconds time, std::chrono::microseconds stall, std::chrono::microseconds window) {
  Note note;
  note.act.time = time;
  note.stall = stall;
  note.window = window;
  Leave(note);
}

void RunGuard::Leave(const Note& note) {
  {
    const std::scoped_lock lock(mutex_);
    // While the run's own thread does not come to collect them, the last places are for what ends the run.
    const bool ends = note.act.action == v1::GuardAct::RELEASE_ASKED || note.act.action == v1::GuardAct::KILLED;
    if (notes_.size() + (ends ? 0 : 2) >= notes_.capacity()) return;
    notes_.push_back(note);
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(wake_.get(), &one, sizeof one);
}

// From here on everything runs on the run's thread.

void RunGuard::CollectNotes() {
  collected_.clear();
  {
    const std::scoped_lock lock(mutex_);
    collected_.swap(notes_);
  }
  for (const Note& note : collected_) {
    v1::Event event;
    *event.mutable_offset() = base::ToProto(note.act.time - attempt_start_);
    if (note.act.action == v1::GuardAct::ACTION_UNSPECIFIED) {
      event.set_kind(v1::Event::PSI_TRIGGERED);
      event.set_message(fmt::format("every task stalled on memory for {} within {}", base::FormatDuration(note.stall),
                                    base::FormatDuration(note.window)));
      event.set_value(static_cast<double>(note.stall.count()));
    } else {
      AddAct(note.act);
      event.set_kind(v1::Event::GUARD_ACTED);
      event.set_message(guard::DescribeAct(note.act));
      event.set_value(note.act.value);
    }
    news_.events.push_back(std::move(event));
  }
}

void RunGuard::AddAct(const guard::Act& act) {
  const std::string description = guard::DescribeAct(act);
  if (act.action == v1::GuardAct::WARNED) {
    base::Log().debug("guard: {}", description);
  } else {
    base::Log().warn("guard: {}", description);
  }
  switch (act.action) {
    case v1::GuardAct::SHRINK_ASKED:
      ++shrinks_;
      shrunk_bytes_ += act.shrink_bytes;
      break;
    case v1::GuardAct::RELEASE_ASKED:
      news_.asked =
          AskedEnd{v1::GUARD_STOPPED,
                   fmt::format("the guard stopped the load{}: {}",
                               shrinks_ > 0 ? ", which it had made smaller before" : "", guard::DescribeReading(act)),
                   v1::GUARD};
      break;
    case v1::GuardAct::KILLED:
      news_.killed = true;
      news_.asked = AskedEnd{v1::GUARD_STOPPED,
                             fmt::format("the guard killed the load, which did not release its memory in time: {}",
                                         guard::DescribeReading(act)),
                             v1::GUARD};
      break;
    default:
      break;
  }
  const bool ends = act.action == v1::GuardAct::RELEASE_ASKED || act.action == v1::GuardAct::KILLED;
  if (acts_.size() >= kMaxActs && !ends) return;
  v1::GuardAct& kept = acts_.emplace_back();
  *kept.mutable_offset() = base::ToProto(act.time - attempt_start_);
  kept.set_action(act.action);
  kept.set_signal(act.signal);
  kept.set_value(act.value);
  kept.set_threshold(act.threshold);
}

RunGuard::News RunGuard::TakeNews() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t ignored = ::read(wake_.get(), &count, sizeof count);
  CollectNotes();
  return std::exchange(news_, News());
}

void RunGuard::AddReport(const v1::RunnerReport& report) {
  if (report.has_state()) told_held_bytes_ = report.state().held_bytes();
  const bool shrunk = report.has_event() && report.event().kind() == v1::Event::RELEASED;
  const bool releases = report.has_phase() && report.phase().kind() == v1::Phase::RELEASE;
  if (!shrunk && !releases) return;
  CollectNotes();  // the act was noted before the runner heard of it
  if (shrunk) AddReaction(v1::GuardAct::SHRINK_ASKED, report.event().offset());
  if (releases) AddReaction(v1::GuardAct::RELEASE_ASKED, report.phase().start_offset());
}

// An answer belongs to what was asked last before it.
void RunGuard::AddReaction(v1::GuardAct::Action action, const google::protobuf::Duration& begun) {
  for (auto act = acts_.rbegin(); act != acts_.rend(); ++act) {
    const nanoseconds reaction = base::FromProto(begun) - base::FromProto(act->offset());
    if (act->action() == v1::GuardAct::WARNED || reaction < nanoseconds(0)) continue;
    if (act->action() == action && !act->has_reaction()) *act->mutable_reaction() = base::ToProto(reaction);
    return;
  }
}

void RunGuard::Fill(v1::RunResult* result) const {
  for (const v1::GuardAct& act : acts_) *result->add_guard_acts() = act;
  if (shrinks_ == 0 || result->outcome().kind() != v1::COMPLETED) return;
  result->mutable_outcome()->set_message(fmt::format("{}; the guard had it give back {} on the way ({} time{})",
                                                     result->outcome().message(), base::FormatBytes(shrunk_bytes_),
                                                     shrinks_, shrinks_ == 1 ? "" : "s"));
}

}  // namespace ballast::agent
