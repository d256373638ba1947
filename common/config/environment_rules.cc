#include "common/config/environment_rules.h"

#include <map>
#include <utility>

#include <fmt/format.h>

#include "absl/strings/ascii.h"
#include "common/config/rule_walk.h"

namespace ballast::config {

namespace {

// It would be taken for a flag on a command line, or hide the file that is named after it.
void CheckName(const std::string& name, const std::string& path, std::vector<Violation>* found) {
  if (!name.starts_with('-') && !name.starts_with('.')) return;
  found->push_back({path, fmt::format("'{}' is no name: one begins with neither '-' nor '.'", name)});
}

}  // namespace

std::vector<Violation> FindContradictions(const v1::EnvironmentProfile& profile, const std::string& path) {
  std::vector<Violation> found;
  CheckName(profile.name(), JoinPath(path, "name"), &found);
  for (int i = 0; i < profile.aliases_size(); ++i) {
    CheckName(profile.aliases(i), JoinPath(path, fmt::format("aliases[{}]", i)), &found);
  }
  const v1::SwapLimit& swap = profile.swap();
  const std::string size = JoinPath(JoinPath(path, "swap"), "size_bytes");
  const bool none = swap.kind() == v1::SwapLimit::NONE || swap.kind() == v1::SwapLimit::KIND_UNSPECIFIED;
  if (!none && swap.size_bytes() == 0) {
    found.push_back(
        {size, fmt::format("is missing: swap of the kind {} has a size", v1::SwapLimit::Kind_Name(swap.kind()))});
  }
  if (none && swap.size_bytes() != 0) {
    found.push_back({size, "there is no swap that could have this size; give a `kind` beside it: DEVICE or ZRAM"});
  }
  return found;
}

std::vector<Violation> FindContradictions(const v1::EnvironmentCatalogue& catalogue) {
  std::vector<Violation> found;
  std::map<std::string, std::string> taken;  // in lower case → whose it is
  const auto take = [&](const std::string& name, const std::string& path, const std::string& profile) {
    const auto [other, is_new] = taken.emplace(absl::AsciiStrToLower(name), profile);
    if (is_new) return;
    found.push_back({path, fmt::format("'{}' is a name of '{}' already; names and aliases are one space, in which "
                                       "upper and lower case are the same",
                                       name, other->second)});
  };
  for (int i = 0; i < catalogue.environments_size(); ++i) {
    const v1::EnvironmentProfile& profile = catalogue.environments(i);
    const std::string path = fmt::format("environments[{}]", i);
    take(profile.name(), path + ".name", profile.name());
    for (int alias = 0; alias < profile.aliases_size(); ++alias) {
      take(profile.aliases(alias), fmt::format("{}.aliases[{}]", path, alias), profile.name());
    }
    for (Violation& violation : FindContradictions(profile, path)) found.push_back(std::move(violation));
  }
  return found;
}

}  // namespace ballast::config
