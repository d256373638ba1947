// Which environment profiles there are: those that come with the programs, behind the user's own.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"
#include "ballast/v1/job.pb.h"

namespace ballast::profiles {

// Reads one file of profiles, with their defaults. INVALID_ARGUMENT lists every problem, one a line, as
// `FILE:LINE:COLUMN: problem`; NOT_FOUND and PERMISSION_DENIED name the file.
[[nodiscard]] absl::StatusOr<v1::EnvironmentCatalogue> ReadEnvironments(const std::filesystem::path& file);

// The profiles that come with the programs (configs/low_mem_env.yaml).
[[nodiscard]] absl::StatusOr<v1::EnvironmentCatalogue> BuiltinEnvironments();

// Puts profiles behind those of `catalogue`, which come first: a profile whose name is taken there, as a name or as an
// alias, is left out, and aliases that are taken are taken from it.
void AddBehind(const v1::EnvironmentCatalogue& profiles, v1::EnvironmentCatalogue* catalogue);

// The profiles of `files`, each before those of the next, and behind them those that come with the programs. Codes of
// ReadEnvironments.
[[nodiscard]] absl::StatusOr<v1::EnvironmentCatalogue> LoadEnvironments(
    const std::vector<std::filesystem::path>& files);

// The profile with this name or alias, where upper and lower case of ASCII letters are the same; null where there is
// none.
[[nodiscard]] const v1::EnvironmentProfile* FindProfile(const v1::EnvironmentCatalogue& catalogue,
                                                        std::string_view name);

// The same, NOT_FOUND with the nearest names where there is none.
[[nodiscard]] absl::StatusOr<const v1::EnvironmentProfile*> GetProfile(const v1::EnvironmentCatalogue& catalogue,
                                                                       std::string_view name);

// Fills in the profile that a job names, and those of its matrix, and writes their own names back in the place of
// aliases. A profile that the job has already stays, and its name stands where the job gives none. Nothing happens to a
// job without an environment. NOT_FOUND as GetProfile, INVALID_ARGUMENT where the job names another profile than it
// has, or its matrix one twice.
[[nodiscard]] absl::Status ResolveEnvironment(const v1::EnvironmentCatalogue& catalogue, v1::JobSpec* spec);

}  // namespace ballast::profiles
