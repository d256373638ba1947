// A program whose runners are real: `--runner` as the worker has it, and `--agent` as something that starts one and is
// killed.
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "common/base/clock.h"
#include "worker/runner/runner_process.h"

namespace {

// Starts a runner that holds 16 MiB for an hour, writes its pid on stdout, and stays.
int AgentMain(const char* program) {
  ballast::v1::RunnerStart start;
  auto* workload = start.mutable_workload()->mutable_pressure();
  workload->mutable_staircase()->set_step_size_bytes(16U << 20U);
  workload->mutable_staircase()->mutable_interval()->set_seconds(3600);
  workload->mutable_staircase()->set_steps(1);
  start.set_start_monotonic_ns(ballast::base::RealClock().Monotonic().count());
  auto runner = ballast::runner::RunnerProcess::Start(program, start);
  if (!runner.ok()) return 1;
  std::printf("%d\n", static_cast<int>(runner->pid()));
  std::fflush(stdout);
  while (true) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "--runner") return ballast::runner::RunnerMain();
  if (mode == "--agent") return AgentMain(argv[0]);
  return 64;
}
