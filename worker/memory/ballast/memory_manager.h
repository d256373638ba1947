// Pressure and guard behind one interface, with a report over both.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/memory_guard.h"
#include "ballast/memory_pressurer.h"
#include "ballast/v1/memory_report.pb.h"
#include "google/protobuf/message.h"

namespace ballast {

struct MemoryManagerOptions {
  // Name or alias of the environment profile that tests run in, for instance `4GB连线` or `4gb-swap`; empty for the
  // machine as it is.
  std::string environment_profile{};
  // Profiles of the user's own, before those that come with the library (see configs/low_mem_env.yaml).
  std::filesystem::path environment_file{};
  // The model that the report advises on; empty for the catalogue's first.
  std::string model_id{};
  // Of tests; its environment is the profile above, and its catalogue the guard's as well.
  MemoryPressurerOptions pressure{};
  // Of the monitoring.
  MemoryGuardOptions guard{};
};

// A test in the terms of a report's reader.
struct ControlledTest {
  // `staircase`, `burst`, `sawtooth` or `allocate_full`.
  std::string test_mode = "burst";
  // A model that is loaded and used while the pressure holds; empty for none.
  std::string model_id{};
  // Its quantisation level; empty for the catalogue's first.
  std::string quant{};
  // Memory in use by everyone that the mode goes up to, in percent of the limit. Not used by allocate_full, which goes
  // down to 5 % of available memory.
  double target_percent = 70;
  // How long a burst, or the end of allocate_full, is held; how long all steps of a staircase take together; how long
  // one of the three cycles of a sawtooth takes.
  std::chrono::nanoseconds burst_duration = std::chrono::seconds(5);
};

// Owns a MemoryPressurer and a MemoryGuard. The runner is looked for when the first test is run, so a program that only
// monitors needs none. Thread-safe.
class MemoryManager {
 public:
  // NOT_FOUND for a profile that there is not, with the nearest names; otherwise codes of MemoryGuard::Create.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<MemoryManager>> Create(MemoryManagerOptions options = {});

  // The one of this process: made by the first call, the same ever after, gone with the process. FAILED_PRECONDITION
  // where it exists already with another profile than `options` names; other options count the first time only.
  [[nodiscard]] static absl::StatusOr<MemoryManager*> Instance(MemoryManagerOptions options = {});

  ~MemoryManager();
  MemoryManager(const MemoryManager&) = delete;
  MemoryManager& operator=(const MemoryManager&) = delete;

  // As the guard's Start and Stop.
  [[nodiscard]] absl::Status StartMonitoring();
  void StopMonitoring();

  // Carries a test out and returns when it has ended; the report has it as `last_test` then. INVALID_ARGUMENT for a
  // mode that there is not, and for a target that cannot be (70, not 0.7; above what is in use, for staircase and
  // sawtooth); otherwise codes of MemoryPressurer::Create and Run. How the test ended, OOM kill included, is in the
  // result.
  [[nodiscard]] absl::StatusOr<v1::PressureTest> RunControlledPressureTest(
      const ControlledTest& test = {}, MemoryPressurer::ProgressCallback on_progress = nullptr);

  // What is known of memory now, where it is going, which level to take, what the environment is, and what the last
  // test came to. Codes of MemoryGuard::Read.
  [[nodiscard]] absl::StatusOr<v1::MemoryReport> GenerateMemoryReport();

  // Both parts, for what has no method here. The pressurer as RunControlledPressureTest makes it: codes of
  // MemoryPressurer::Create.
  [[nodiscard]] MemoryGuard& guard() { return *guard_; }
  [[nodiscard]] absl::StatusOr<MemoryPressurer*> pressurer();

 private:
  MemoryManager(MemoryManagerOptions options, std::optional<v1::EnvironmentProfile> profile,
                std::unique_ptr<MemoryGuard> guard);

  const MemoryManagerOptions options_;
  const std::optional<v1::EnvironmentProfile> profile_;
  const std::unique_ptr<MemoryGuard> guard_;
  std::mutex mutex_;
  std::unique_ptr<MemoryPressurer> pressurer_;  // guarded by mutex_; set once
  std::optional<v1::PressureTest> last_test_;   // guarded by mutex_
};

// A report, a test or any other of these messages as JSON: proto field names, enums by name, 64-bit integers as
// numbers, durations as seconds, every field printed. Ends without a newline. Thread-safe.
[[nodiscard]] std::string ToJson(const google::protobuf::Message& message);

}  // namespace ballast
