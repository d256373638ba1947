// The program `ballast-runner`, for programs that embed the library: the child that holds the memory, and the child
// that sets limits up for one command.
#include <string>
#include <vector>

#include "worker/memory/environment_child.h"
#include "worker/runner/runner_process.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == ballast::memory::kEnvironmentChildFlag) {
    return ballast::memory::EnvironmentChildMain(std::vector<std::string>(argv + 2, argv + argc));
  }
  return ballast::runner::RunnerMain();
}
