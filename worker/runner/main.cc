// The program `ballast-runner`: the child that holds the memory, for programs that embed the library.
#include "worker/runner/runner_process.h"

int main() {
  return ballast::runner::RunnerMain();
}
