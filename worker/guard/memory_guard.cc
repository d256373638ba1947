#include "worker/guard/memory_guard.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/units.h"

namespace ballast::guard {
namespace {

using std::chrono::nanoseconds;

constexpr int kGuardNice = -15;
constexpr std::size_t kMaxTriggers = 2;
constexpr std::size_t kStackBytes = 64U << 10U;
constexpr std::chrono::seconds kTriggerInterval(10);

// Ahead of everything that is not real-time: it takes a thousandth of a processor, and must run when nothing else does.
void RaisePriority() {
  sched_param parameter{};
  parameter.sched_priority = ::sched_get_priority_min(SCHED_RR);
  if (::sched_setscheduler(0, SCHED_RR, &parameter) == 0) return;  // of this thread alone
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), kGuardNice);
}

// Makes the stack resident that will be needed when there may be no page left for it.
void PrefaultStack() {
  std::array<char, kStackBytes> stack;
  std::memset(stack.data(), 0, stack.size());
  asm volatile("" : : "r"(stack.data()) : "memory");  // keeps the compiler from leaving it out
}

}  // namespace

absl::StatusOr<std::unique_ptr<MemoryGuard>> MemoryGuard::Open(const GuardOptions& options, GuardedLoad* load,
                                                               GuardListener* listener) {
  std::unique_ptr<MemoryGuard> guard(new MemoryGuard());
  guard->clock_ = options.clock;
  guard->listener_ = listener;
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<SignalReader> reader, SignalReader::Open(options.root, options.place));
  for (const std::string& path : {reader->machine_pressure_path(), reader->cgroup_pressure_path()}) {
    if (!path.empty()) guard->SetTrigger(path, options.thresholds.stalling_percent);
  }
  if (guard->means_.empty()) guard->means_ = "the kernel tells of no stalls";
  guard->watch_ = std::make_unique<GuardWatch>(options.thresholds, std::move(reader), options.clock, load, listener);
  guard->wake_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!guard->wake_.valid()) return base::ErrnoStatus(errno, "eventfd");
  return guard;
}

MemoryGuard::~MemoryGuard() {
  Stop();
}

void MemoryGuard::SetTrigger(const std::string& path, double full_percent) {
  if (!means_.empty()) means_ += "; ";
  absl::StatusOr<PsiTrigger> trigger = PsiTrigger::Open(path, full_percent);
  if (!trigger.ok()) {
    means_ += fmt::format("polling of {}: {}", path, std::string(trigger.status().message()));
    return;
  }
  means_ += fmt::format("trigger on {}: {} in {}", path, base::FormatDuration(trigger->stall()),
                        base::FormatDuration(trigger->window()));
  triggers_.push_back(*std::move(trigger));
}

void MemoryGuard::Start() {
  thread_ = std::thread([this] { Run(); });
}

void MemoryGuard::Stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(wake_.get(), &one, sizeof one);
  thread_.join();
}

void MemoryGuard::Run() {
  RaisePriority();
  PrefaultStack();
  nanoseconds due = clock_->Monotonic();
  while (!stopping_) {
    due = watch_->Look(due);
    Wait(due);
    // Woken early, it is not late.
    due = std::min(due, clock_->Monotonic());
  }
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  cpu_time_ = std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

void MemoryGuard::Wait(nanoseconds due) {
  std::array<pollfd, kMaxTriggers + 1> polled{};
  polled[0] = {wake_.get(), POLLIN, 0};
  for (std::size_t i = 0; i < triggers_.size(); ++i) polled[i + 1] = {triggers_[i].fd(), POLLPRI, 0};
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(due - clock_->Monotonic());
  if (wait.count() <= 0) return;
  if (::poll(polled.data(), triggers_.size() + 1, static_cast<int>(wait.count())) <= 0) return;
  for (std::size_t i = triggers_.size(); i-- > 0;) {
    // The cgroup is gone, and would wake every poll from now on.
    if ((polled[i + 1].revents & POLLERR) != 0) {
      triggers_.erase(triggers_.begin() + static_cast<std::ptrdiff_t>(i));
    } else if ((polled[i + 1].revents & POLLPRI) != 0) {
      TellOfTrigger(triggers_[i]);
    }
  }
}

void MemoryGuard::TellOfTrigger(const PsiTrigger& trigger) {
  const nanoseconds now = clock_->Monotonic();
  if (trigger_told_ && now - *trigger_told_ < kTriggerInterval) return;
  trigger_told_ = now;
  listener_->OnTrigger(now, trigger.stall(), trigger.window());
}

std::string WhyNoTriggers(const std::string& root) {
  const std::string path = root.ends_with('/') ? root + "proc/pressure/memory" : root + "/proc/pressure/memory";
  if (::access(path.c_str(), F_OK) != 0) return "";
  const absl::StatusOr<PsiTrigger> trigger = PsiTrigger::Open(path, Thresholds().stalling_percent);
  if (trigger.ok()) return "";
  return fmt::format("No triggers for stalls, so the guard only polls: {}.", std::string(trigger.status().message()));
}

}  // namespace ballast::guard
