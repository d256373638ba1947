#include "tests/simulation/mutation.h"

#include <string>

namespace ballast::simulation {
namespace {

std::string& Chosen() {
  static std::string name;
  return name;
}

}  // namespace

void SetMutation(std::string_view name) {
  Chosen() = name;
}

bool Mutated(std::string_view name) {
  const std::string& chosen = Chosen();
  return !chosen.empty() && chosen == name;
}

}  // namespace ballast::simulation
