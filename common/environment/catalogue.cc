#include "common/environment/catalogue.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "absl/strings/match.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/environment_rules.h"
#include "common/config/field_text.h"
#include "common/config/yaml.h"
#include "common/environment/builtin_environments.h"

namespace ballast::profiles {
namespace {

std::vector<config::Violation> Contradictions(const google::protobuf::Message& message) {
  return config::FindContradictions(static_cast<const v1::EnvironmentCatalogue&>(message));
}

bool SameName(std::string_view a, std::string_view b) {
  return absl::EqualsIgnoreCase(absl::string_view(a.data(), a.size()), absl::string_view(b.data(), b.size()));
}

bool IsNamed(const v1::EnvironmentProfile& profile, std::string_view name) {
  return SameName(profile.name(), name) ||
         std::ranges::any_of(profile.aliases(), [name](const std::string& alias) { return SameName(alias, name); });
}

}  // namespace

absl::StatusOr<v1::EnvironmentCatalogue> ReadEnvironments(const std::filesystem::path& file) {
  v1::EnvironmentCatalogue catalogue;
  BALLAST_RETURN_IF_ERROR(config::ReadYamlFile(file, Contradictions, &catalogue));
  return catalogue;
}

absl::StatusOr<v1::EnvironmentCatalogue> BuiltinEnvironments() {
  v1::EnvironmentCatalogue catalogue;
  BALLAST_RETURN_IF_ERROR(
      config::ReadYaml(BuiltinEnvironmentsText(), "the profiles that come with it", Contradictions, &catalogue));
  return catalogue;
}

void AddBehind(const v1::EnvironmentCatalogue& profiles, v1::EnvironmentCatalogue* catalogue) {
  const v1::EnvironmentCatalogue before = *catalogue;
  for (const v1::EnvironmentProfile& profile : profiles.environments()) {
    if (FindProfile(before, profile.name()) != nullptr) continue;
    v1::EnvironmentProfile& added = *catalogue->add_environments();
    added = profile;
    added.clear_aliases();
    for (const std::string& alias : profile.aliases()) {
      if (FindProfile(before, alias) == nullptr) added.add_aliases(alias);
    }
  }
}

absl::StatusOr<v1::EnvironmentCatalogue> LoadEnvironments(const std::vector<std::filesystem::path>& files) {
  v1::EnvironmentCatalogue catalogue;
  for (const std::filesystem::path& file : files) {
    BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentCatalogue read, ReadEnvironments(file));
    AddBehind(read, &catalogue);
  }
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentCatalogue builtin, BuiltinEnvironments());
  AddBehind(builtin, &catalogue);
  return catalogue;
}

const v1::EnvironmentProfile* FindProfile(const v1::EnvironmentCatalogue& catalogue, std::string_view name) {
  const auto& profiles = catalogue.environments();
  const auto found =
      std::ranges::find_if(profiles, [name](const v1::EnvironmentProfile& profile) { return IsNamed(profile, name); });
  return found == profiles.end() ? nullptr : &*found;
}

absl::StatusOr<const v1::EnvironmentProfile*> GetProfile(const v1::EnvironmentCatalogue& catalogue,
                                                         std::string_view name) {
  if (const v1::EnvironmentProfile* profile = FindProfile(catalogue, name)) return profile;
  std::vector<std::string> names;   // all, to be near to
  std::vector<std::string> listed;  // `NAME (ALIAS, ALIAS)`
  for (const v1::EnvironmentProfile& profile : catalogue.environments()) {
    names.push_back(profile.name());
    names.insert(names.end(), profile.aliases().begin(), profile.aliases().end());
    listed.push_back(profile.aliases().empty()
                         ? profile.name()
                         : fmt::format("{} ({})", profile.name(), fmt::join(profile.aliases(), ", ")));
  }
  const std::string near = config::DidYouMean(name, names);
  return absl::NotFoundError(fmt::format("there is no environment profile {}; {}", base::Quoted(name),
                                         near.empty() ? fmt::format("there are {}", fmt::join(listed, ", ")) : near));
}

namespace {

// Of a matrix: the device as it is.
constexpr std::string_view kNoEnvironment = "none";

// The profiles of a matrix, in its order, and their own names in the place of aliases.
absl::Status ResolveMatrix(const v1::EnvironmentCatalogue& catalogue, v1::JobMatrix* matrix) {
  google::protobuf::RepeatedPtrField<v1::EnvironmentProfile> given;
  given.Swap(matrix->mutable_environment_profiles());
  std::set<std::string> seen;
  for (std::string& name : *matrix->mutable_environments()) {
    v1::EnvironmentProfile& profile = *matrix->add_environment_profiles();
    if (name != kNoEnvironment) {
      const auto own =
          std::ranges::find_if(given, [&](const v1::EnvironmentProfile& one) { return IsNamed(one, name); });
      if (own != given.end()) {
        profile = *own;
      } else {
        const absl::StatusOr<const v1::EnvironmentProfile*> known = GetProfile(catalogue, name);
        if (!known.ok()) return base::WithContext(known.status(), "matrix.environments");
        profile = **known;
      }
      name = profile.name();
    }
    if (!seen.insert(name).second) {
      return absl::InvalidArgumentError(fmt::format("matrix.environments: {} is there twice", base::Quoted(name)));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ResolveEnvironment(const v1::EnvironmentCatalogue& catalogue, v1::JobSpec* spec) {
  if (spec->has_matrix()) BALLAST_RETURN_IF_ERROR(ResolveMatrix(catalogue, spec->mutable_matrix()));
  if (spec->has_environment_profile()) {
    const v1::EnvironmentProfile& profile = spec->environment_profile();
    if (!spec->environment().empty() && !IsNamed(profile, spec->environment())) {
      return absl::InvalidArgumentError(
          fmt::format("environment: it names {}, but `environment_profile` is {}; leave one of them out",
                      base::Quoted(spec->environment()), base::Quoted(profile.name())));
    }
    spec->set_environment(profile.name());
    return absl::OkStatus();
  }
  if (spec->environment().empty()) return absl::OkStatus();
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentProfile* const profile, GetProfile(catalogue, spec->environment()));
  *spec->mutable_environment_profile() = *profile;
  spec->set_environment(profile->name());
  return absl::OkStatus();
}

}  // namespace ballast::profiles
