#include "worker/runner/workload_execution.h"

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/os/memory_gauge.h"
#include "common/os/memory_stall.h"
#include "worker/pressure/file_cache_gauge.h"
#include "worker/pressure/held_memory.h"
#include "worker/pressure/hot_memory.h"
#include "worker/pressure/hot_set.h"
#include "worker/pressure/hot_set_observer.h"
#include "worker/pressure/pacer.h"
#include "worker/pressure/pressure_engine.h"

namespace ballast::runner {
namespace {

absl::StatusOr<v1::RunnerFinished> ExecutePressure(const v1::PressureWorkload& workload, const v1::RunnerStart& start,
                                                   pressure::PressureObserver* observer,
                                                   pressure::EngineRequests* requests, const std::stop_token& stop) {
  const std::chrono::nanoseconds attempt_start(start.start_monotonic_ns());
  const bool file_cache = workload.memory_kind() == v1::FILE_CACHE;
  // A file beyond the limit of this process (ulimit -f) is refused, not the end of it.
  std::signal(SIGXFSZ, SIG_IGN);
  BALLAST_ASSIGN_OR_RETURN(const std::unique_ptr<pressure::HeldMemory> memory,
                           pressure::HeldMemory::Create({.content = workload.content(),
                                                         .kind = workload.memory_kind(),
                                                         .fill_threads = workload.fill_threads(),
                                                         .lock = workload.lock(),
                                                         .scratch_dir = start.scratch_dir()}));
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<os::MemoryGauge> gauge, os::MemoryGauge::Open());
  if (file_cache && !workload.lock()) {
    gauge = std::make_unique<pressure::FileCacheGauge>(std::move(gauge), memory.get());
  }
  pressure::MachinePacer pacer;
  absl::StatusOr<std::unique_ptr<os::MemoryStall>> stall = os::MemoryStall::Open();
  if (!stall.ok() && workload.burst().has_target_psi()) return stall.status();
  pressure::EngineSeams seams = {.gauge = gauge.get(),
                                 .memory = memory.get(),
                                 .pacer = &pacer,
                                 .observer = observer,
                                 .stall = stall.ok() ? stall->get() : nullptr,
                                 .requests = requests,
                                 .hold_until_told = start.hold_until_told()};

  const std::optional<v1::HotSet> hot = pressure::HotSetOf(workload);
  if (!hot) return pressure::PressureEngine(seams, attempt_start).Run(workload, stop);
  // File pages are read by the programs whose they are, heap is written.
  using Touch = pressure::HotSet::Touch;
  using Order = pressure::HotSet::Order;
  const bool paced = !workload.has_hot_set();  // by the pattern that wants a stall
  BALLAST_ASSIGN_OR_RETURN(const std::unique_ptr<pressure::HotSet> hot_set,
                           pressure::HotSet::Start(*hot, file_cache ? Touch::kRead : Touch::kWrite,
                                                   paced ? Order::kAtRandom : Order::kEachOnce));
  pressure::HotMemory hot_memory(memory.get(), hot_set.get(), paced);
  pressure::HotSetObserver hot_observer([&hot_set] { return hot_set->report(); }, &pacer, observer, attempt_start);
  seams.memory = &hot_memory;
  seams.observer = &hot_observer;
  v1::RunnerFinished finished = pressure::PressureEngine(seams, attempt_start).Run(workload, stop);
  finished.set_message(fmt::format("{}; {}", finished.message(), pressure::Summarise(hot_set->report())));
  return finished;
}

v1::RunnerFinished Invalid(std::chrono::nanoseconds attempt_start, std::string message) {
  v1::RunnerFinished finished;
  finished.set_outcome(v1::INVALID);
  finished.set_message(std::move(message));
  *finished.mutable_offset() = base::ToProto(base::RealClock().Monotonic() - attempt_start);
  return finished;
}

}  // namespace

v1::RunnerFinished ExecuteTask(const v1::RunnerStart& start, RunnerObserver* observer,
                               pressure::EngineRequests* requests, const std::stop_token& stop) {
  const std::chrono::nanoseconds attempt_start(start.start_monotonic_ns());
  if (start.has_load()) return model::ExecuteLoad(start.load(), attempt_start, observer, stop);
  const v1::Workload& workload = start.workload();
  if (!workload.has_pressure()) {
    return Invalid(attempt_start, "this runner was given neither pressure nor a model to load");
  }
  absl::StatusOr<v1::RunnerFinished> finished = ExecutePressure(workload.pressure(), start, observer, requests, stop);
  if (finished.ok()) return *std::move(finished);
  return Invalid(attempt_start,
                 fmt::format("the runner could not begin: {}", std::string(finished.status().message())));
}

}  // namespace ballast::runner
