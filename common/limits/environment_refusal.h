// Why a machine cannot be made to behave as a profile says.
#pragma once

#include <string>

namespace ballast::environment {

// Nothing was started, and nothing is left of what was set up.
struct EnvironmentRefusal {
  std::string cause;      // what is in the way, with what was asked and what was found
  std::string place;      // the file that says so; empty where there is none
  std::string next_step;  // what the user can do

  // All three in one sentence, for the outcome of a run.
  [[nodiscard]] std::string ToText() const;
};

}  // namespace ballast::environment
