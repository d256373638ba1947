// Tests with real runners, in a directory that goes with them.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "ballast/memory_pressurer.h"
#include "common/base/clock.h"
#include "tests/unit/worker/agent/run_fixture.h"

namespace ballast {

class PressureFixture : public ::testing::Test {
 protected:
  PressureFixture() {
    std::string name = testing::TempDir() + "/ballast_memory_test_XXXXXX";
    directory_ = ::mkdtemp(name.data());
    options_.runner_program = RUNNER_PROGRAM;
    options_.data_directory = directory_ / "data";
  }
  ~PressureFixture() override {
    EXPECT_TRUE(agent::ChildrenOfThisProcess().empty()) << "a runner is left";
    std::filesystem::remove_all(directory_);
  }

  // A job of a few MiB, sampled often.
  static v1::JobSpec Small(v1::PressureWorkload pressure) {
    v1::JobSpec job;
    *pressure.mutable_baseline() = base::ToProto(std::chrono::milliseconds(50));
    *pressure.mutable_recovery() = base::ToProto(std::chrono::milliseconds(50));
    *job.mutable_workload()->mutable_pressure() = std::move(pressure);
    *job.mutable_telemetry()->mutable_sample_interval() = base::ToProto(std::chrono::milliseconds(20));
    return job;
  }

  std::filesystem::path directory_;
  MemoryPressurerOptions options_;
};

}  // namespace ballast
