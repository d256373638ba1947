// Watches memory for another program, warns it, and gives memory back.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/memory_report.pb.h"
#include "ballast/v1/model.pb.h"
#include "ballast/v1/run.pb.h"

namespace ballast {

struct MemoryGuardOptions {
  // Thresholds; what is not given has the defaults of a job's guard (docs/guard.md), with `min_available_percent` 5.
  // MODE OFF means that samples are taken and nothing is watched.
  v1::GuardSpec thresholds{};
  // Time between two samples for trend and peaks; 10 ms to 1 h. The guard's own looks are more frequent.
  std::chrono::milliseconds sample_interval{1000};
  // Whether Optimise() is called, on the guard's second thread, before OnAct's callback.
  bool optimise_on_act = true;
  // A model catalogue of the user's own, before the one that comes with the library.
  std::filesystem::path model_catalogue{};
  // Where /proc and /sys are found; tests lay out a tree of their own.
  std::string root = "/";
};

// What a program registered as droppable stays so until this goes. Move-only; thread-safe to destroy, and may outlive
// the guard. Where the function is being called by another thread, destruction waits for its end.
class Droppable {
 public:
  Droppable() = default;
  Droppable(Droppable&&) noexcept = default;
  Droppable& operator=(Droppable&& other) noexcept;
  ~Droppable();

 private:
  friend class MemoryGuard;
  explicit Droppable(std::function<void()> remove) : remove_(std::move(remove)) {}

  std::function<void()> remove_;
};

// The guard of Ballast's worker (docs/guard.md), with this program in the place of the load: it watches available
// memory, stalls, swapping in and refaults on a thread of its own, and instead of ending anything it calls back.
// Thread-safe.
class MemoryGuard {
 public:
  // What the guard saw, and memory at that time. `act.offset` counts from Start(). Called from a second thread of the
  // guard, one call at a time; may take its time, must not throw, and may call every method but Stop().
  using Callback = std::function<void(const v1::GuardAct& act, const v1::MemoryReading& reading)>;

  // INVALID_ARGUMENT for thresholds that cannot be, and for a damaged catalogue; NOT_FOUND where /proc/meminfo is
  // missing.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<MemoryGuard>> Create(MemoryGuardOptions options = {});
  // As Stop().
  ~MemoryGuard();
  MemoryGuard(const MemoryGuard&) = delete;
  MemoryGuard& operator=(const MemoryGuard&) = delete;

  // Three quarters of a threshold are reached: WARNED, at most once in 10 s a signal.
  void OnWarning(Callback callback);
  // A threshold is crossed: SHRINK_ASKED, and again every 5 s for as long as it is.
  void OnAct(Callback callback);

  // Begins to watch, with peaks, trend and acts anew. Nothing happens where it watches already. RESOURCE_EXHAUSTED
  // where the system refuses descriptors.
  [[nodiscard]] absl::Status Start();
  // Watches no longer; no callback is under way or comes afterwards. What was seen stays for the report. Repeatable.
  void Stop();
  [[nodiscard]] bool monitoring() const;

  // Memory now, whether it watches or not. NOT_FOUND where it cannot be read.
  [[nodiscard]] absl::StatusOr<v1::MemoryReading> Read();

  // Registers something that can be dropped when memory is short, and had again: a cache, a model that is not in use.
  // `drop` frees it and returns the bytes; it is called from whatever thread optimises, one at a time, and must not
  // throw. Of lower `priority` goes first.
  [[nodiscard]] Droppable AddDroppable(std::string name, int priority, std::function<std::uint64_t()> drop);

  // Gives memory back to the system: trims the C library's allocator, then drops what is registered, in order of
  // priority, trimming after each. What each step freed is measured. Blocks.
  v1::OptimiseResult Optimise();

  // The highest quantisation level of a model of the catalogue that fits, by estimate, into what is available now, less
  // what the guard keeps free; of the catalogue's first where `model_id` is empty. Where `environment_bytes` is not 0,
  // it is to fit into an environment with that much memory, which is empty, and into what is available here. Reads the
  // headers of files. NOT_FOUND with the nearest identifiers.
  [[nodiscard]] absl::StatusOr<v1::QuantizationAdvice> AdviseQuantization(const std::string& model_id,
                                                                          std::uint64_t environment_bytes = 0);
  // The same of a model's levels that the program describes itself.
  [[nodiscard]] absl::StatusOr<v1::QuantizationAdvice> AdviseQuantization(std::span<const v1::ModelDescription> levels);

  // Fills in `now`, and what the monitoring found out: trend, slope, peaks, acts, the last optimisation. Codes of
  // Read().
  [[nodiscard]] absl::Status Fill(v1::MemoryReport* report);

 private:
  class Impl;
  explicit MemoryGuard(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace ballast
