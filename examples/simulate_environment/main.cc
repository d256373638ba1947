// A program that uses environment profiles: lists them, writes down how to have one in a container and as a script, and
// runs a command in it on this machine.
//
//   simulate_environment [NAME [SCRIPT [COMMAND…]]]
#include <iostream>
#include <string>
#include <vector>

#include "ballast/environment_simulator.h"

namespace {

int Fail(const absl::Status& status) {
  std::cerr << "error: " << std::string(status.message()) << "\n";
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const auto created = ballast::EnvironmentSimulator::Create();
  if (!created.ok()) return Fail(created.status());
  const ballast::EnvironmentSimulator& simulator = **created;

  simulator.PrintProfiles(std::cout);
  if (argc < 2) return 0;
  const std::string profile = argv[1];

  const auto command = simulator.GenerateDockerCommand(profile, "ballast simple --mode burst");
  if (!command.ok()) return Fail(command.status());
  std::cout << *command << "\n";

  if (argc > 2) {
    if (const absl::Status written = simulator.CreateTestScript(profile, argv[2]); !written.ok()) return Fail(written);
  }
  if (argc > 3) {
    const auto result = simulator.Run(profile, std::vector<std::string>(argv + 3, argv + argc));
    if (!result.ok()) return Fail(result.status());
    std::cout << ballast::v1::OutcomeKind_Name(result->outcome().kind()) << ": " << result->outcome().message() << "\n";
  }
  return 0;
}
