// Puts the machine under measured memory pressure, from inside another program.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/installed_runner.h"  // IWYU pragma: keep
#include "ballast/v1/environment.pb.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/memory_report.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/workload.pb.h"

namespace ballast {

namespace memory {
class EmbeddedAgent;
}  // namespace memory

struct MemoryPressurerOptions {
  // The program `ballast-runner`. Where this is empty: the environment variable BALLAST_RUNNER; the one of the package
  // that this program was built with; the one beside this program's own file, or in ../libexec/ballast from there.
  std::filesystem::path runner_program{};
  // Where runs are recorded, files of held pages lie and models are kept; one program at a time. Where this is empty: a
  // private directory in $TMPDIR (or /var/tmp) that goes with the pressurer. Name one to keep models from one start to
  // the next.
  std::filesystem::path data_directory{};
  // A model catalogue of the user's own, before the one that comes with the library (see configs/models.yaml).
  std::filesystem::path model_catalogue{};
  // The smaller machine that every test runs in, unless its job says another one; absent for the machine as it is.
  std::optional<v1::EnvironmentProfile> environment{};
  // What protects the machine from the load, unless the job says otherwise.
  v1::GuardSpec guard{};
  // In version 2 of cgroups a runner gets a cgroup of its own only where this program moves into a leaf of the cgroup
  // that it is alone in. The library does that only where this is true, or where there is an environment, which needs
  // it; the program is moved back when the pressurer goes. Version 1 moves nothing.
  bool may_move_program = false;
};

// Starts and stops pressure, one test at a time. All memory is held, and every model loaded, in a child (the *runner*):
// an OOM kill ends that, never this program, and the pressure never outlives this program, however it ends. Guard,
// verdicts and validity are those of Ballast's worker, which is built on the same libraries. Thread-safe.
class MemoryPressurer {
 public:
  // Called a few times a second while a test goes on, from a thread of the library. Must return soon, must not throw,
  // and must not call Wait or Run.
  using ProgressCallback = std::function<void(const v1::RunProgress&)>;

  // NOT_FOUND where there is no runner (the message lists where it was looked for); FAILED_PRECONDITION where another
  // program uses the data directory; INVALID_ARGUMENT for a damaged catalogue; codes of the file system.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<MemoryPressurer>> Create(MemoryPressurerOptions options = {});
  // Stops what goes on, and waits for its end.
  ~MemoryPressurer();
  MemoryPressurer(const MemoryPressurer&) = delete;
  MemoryPressurer& operator=(const MemoryPressurer&) = delete;

  // Begins a test and returns. INVALID_ARGUMENT names the field that is wrong; NOT_FOUND a model that the catalogue
  // does not have; FAILED_PRECONDITION where a test goes on already.
  [[nodiscard]] absl::Status Start(const v1::PressureWorkload& pressure, ProgressCallback on_progress = nullptr);
  // The same for any job: a workload with a model, limits, a guard, how often is sampled. What concerns a coordinator
  // (devices, repetitions, attempts) is ignored.
  [[nodiscard]] absl::Status Start(const v1::JobSpec& job, ProgressCallback on_progress = nullptr);

  // Gives another target to the burst that goes on: memory moves there at once, and the rest of its time is held at the
  // new one. Percent of the limit, above 0 and at most 100. FAILED_PRECONDITION where no burst to a share of memory or
  // to bytes goes on; INVALID_ARGUMENT.
  [[nodiscard]] absl::Status AdjustTarget(double target_percent);

  // Asks what goes on to release everything and end (CANCELLED). Does not wait. Nothing happens where nothing goes on.
  void Stop();

  // Waits for the end of what goes on, or takes the last end that nobody has waited for. A test that was OOM-killed,
  // stopped by the guard or refused is a result like any other: see `attempt.result.outcome`, with its evidence.
  // FAILED_PRECONDITION where nothing was started; codes of the file system where the result could not be recorded.
  [[nodiscard]] absl::StatusOr<v1::PressureTest> Wait();

  // Start and Wait.
  [[nodiscard]] absl::StatusOr<v1::PressureTest> Run(const v1::PressureWorkload& pressure,
                                                     ProgressCallback on_progress = nullptr);
  [[nodiscard]] absl::StatusOr<v1::PressureTest> Run(const v1::JobSpec& job, ProgressCallback on_progress = nullptr);

  // Whether a test goes on.
  [[nodiscard]] bool running() const;

  // The four modes, with the parameters and defaults of `ballast simple`. MiB are 1024 * 1024 bytes, percent are of
  // memory in use by everyone against the limit.
  //
  // Every `interval` another `step_size_mib`, at most `steps` times.
  [[nodiscard]] static v1::PressureWorkload Staircase(double step_size_mib = 100,
                                                      std::chrono::nanoseconds interval = std::chrono::seconds(1),
                                                      std::uint32_t steps = 20);
  // As fast as possible to `target_percent`, then held for `duration`.
  [[nodiscard]] static v1::PressureWorkload Burst(double target_percent = 70,
                                                  std::chrono::nanoseconds duration = std::chrono::seconds(5));
  // Between the two, once in `cycle_duration`.
  [[nodiscard]] static v1::PressureWorkload Sawtooth(
      double min_percent = 30, double max_percent = 70, std::uint32_t cycles = 3,
      std::chrono::nanoseconds cycle_duration = std::chrono::seconds(10));
  // Until available memory is down to `floor_percent`, or the kernel refuses.
  [[nodiscard]] static v1::PressureWorkload AllocateFull(double floor_percent = 5,
                                                         std::chrono::nanoseconds hold = std::chrono::seconds(1));

 private:
  explicit MemoryPressurer(std::unique_ptr<memory::EmbeddedAgent> agent);

  std::unique_ptr<memory::EmbeddedAgent> agent_;
};

}  // namespace ballast
