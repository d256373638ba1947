// Rules between the fields of environment profiles, beyond what stands beside each field.
#pragma once

#include <string>
#include <vector>

#include "ballast/v1/environment.pb.h"
#include "common/config/field_rules.h"

namespace ballast::config {

// What contradicts itself in a profile that has its defaults: swap without a size, or a size without swap, names and
// aliases that begin with '-' or '.'. `path` is
// the profile's place in its message, for instance `environment_profile`; empty where it is the message itself.
[[nodiscard]] std::vector<Violation> FindContradictions(const v1::EnvironmentProfile& profile, const std::string& path);

// The same for all profiles of a catalogue, and names that stand twice: names and aliases are one space, in which the
// case of ASCII letters does not count.
[[nodiscard]] std::vector<Violation> FindContradictions(const v1::EnvironmentCatalogue& catalogue);

}  // namespace ballast::config
