// Real runs, carried out in this process with real runners.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/config/field_rules.h"
#include "common/os/procfs.h"
#include "tests/unit/worker/agent/agent_fixture.h"
#include "worker/agent/run_executor.h"
#include "worker/agent/run_supervisor.h"

namespace ballast::agent {

// Children of this process, zombies included.
inline std::vector<pid_t> ChildrenOfThisProcess() {
  std::vector<pid_t> children;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const absl::StatusOr<std::string> content = base::ReadFile(entry.path() / "stat");
    if (!content.ok()) continue;
    const auto stat = os::ParseProcessStat(*content);
    if (stat && stat->parent_pid == ::getpid()) children.push_back(static_cast<pid_t>(stat->pid));
  }
  return children;
}

// The runners among them.
inline std::vector<pid_t> RunnersOfThisProcess() {
  std::vector<pid_t> runners = ChildrenOfThisProcess();
  std::erase_if(runners, [](pid_t pid) {
    return base::ReadFile(fmt::format("/proc/{}/comm", pid)).value_or("") == "ballast-keeper\n";
  });
  return runners;
}

class RunFixture : public AgentFixture, public SupervisorListener {
 protected:
  RunFixture() {
    options_.runner_program = RUNNER_PROGRAM;
    options_.device.add_capabilities(v1::WORKLOAD_PRESSURE);
    options_.progress_interval = std::chrono::milliseconds(20);
  }
  ~RunFixture() override { EXPECT_TRUE(ChildrenOfThisProcess().empty()) << "a runner is left"; }

  void OnProgress(const v1::RunProgress& progress) override {
    if (on_progress_) on_progress_(progress);
  }
  void OnRejected(const v1::AssignmentRejected& rejected) override {
    if (on_rejected_) on_rejected_(rejected);
  }

  [[nodiscard]] v1::Assignment Staircase(std::uint32_t steps, std::chrono::milliseconds interval,
                                         std::uint64_t step_mib = 4) const {
    v1::Assignment assignment;
    assignment.set_run_id(key_.run_id);
    assignment.set_attempt(key_.attempt);
    v1::JobSpec* const spec = assignment.mutable_spec();
    v1::PressureWorkload* const pressure = spec->mutable_workload()->mutable_pressure();
    *pressure->mutable_baseline() = base::ToProto(std::chrono::milliseconds(50));
    *pressure->mutable_recovery() = base::ToProto(std::chrono::milliseconds(50));
    pressure->mutable_staircase()->set_steps(steps);
    pressure->mutable_staircase()->set_step_size_bytes(step_mib << 20U);
    *pressure->mutable_staircase()->mutable_interval() = base::ToProto(interval);
    *spec->mutable_telemetry()->mutable_sample_interval() = base::ToProto(std::chrono::milliseconds(20));
    config::ApplyDefaults(spec);
    return assignment;
  }
  // A run that goes on until something ends it.
  [[nodiscard]] v1::Assignment LongRun() const { return Staircase(1000, std::chrono::hours(1)); }

  // A program that takes the runner's place.
  void UseScript(std::string_view text) {
    const std::filesystem::path script = directory_ / "runner.sh";
    std::ofstream(script) << "#!/bin/sh\n" << text << "\n";
    ASSERT_EQ(::chmod(script.c_str(), 0755), 0);
    options_.runner_program = script.string();
  }

  RunExecutorOptions options_;
  std::function<void(const v1::RunProgress&)> on_progress_;
  std::function<void(const v1::AssignmentRejected&)> on_rejected_;
};

}  // namespace ballast::agent
