// From the terms of a report's reader to a job.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "ballast/memory_manager.h"
#include "ballast/v1/job.pb.h"

namespace ballast::memory {

// Memory where a test will run.
struct TestGround {
  std::uint64_t limit_bytes = 0;
  std::uint64_t used_bytes = 0;
};

// The job that carries the test out: see MemoryManager::RunControlledPressureTest. INVALID_ARGUMENT. Pure.
[[nodiscard]] absl::StatusOr<v1::JobSpec> JobOf(const ControlledTest& test, const TestGround& ground);

}  // namespace ballast::memory
