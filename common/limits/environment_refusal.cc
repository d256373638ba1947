#include "common/limits/environment_refusal.h"

#include <fmt/format.h>

namespace ballast::environment {

std::string EnvironmentRefusal::ToText() const {
  return fmt::format("{}{}; try: {}", cause, place.empty() ? "" : fmt::format(" (at {})", place), next_step);
}

}  // namespace ballast::environment
