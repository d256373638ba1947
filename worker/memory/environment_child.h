// One command in an environment, started and watched by a child: what limits and signals take is not this program's.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"
#include "ballast/v1/run.pb.h"

namespace ballast::memory {

// Has `runner` carry it out and waits. The command has this process's standard streams, terminal and working directory.
// UNAVAILABLE where the child ended without a result. Thread-safe.
[[nodiscard]] absl::StatusOr<v1::RunResult> RunInChild(const std::filesystem::path& runner,
                                                       const v1::EnvironmentProfile& profile,
                                                       const std::vector<std::string>& argv);

// What the program `ballast-runner` does for RunInChild: reads the profile from descriptor 3, runs `argv` in it, and
// writes the result there. Returns the program's exit code: 0 when the result was written, 2 when descriptor 3 is no
// such channel. Call it from main, before there are threads.
[[nodiscard]] int EnvironmentChildMain(const std::vector<std::string>& argv);

// The flag by which main knows.
inline constexpr char kEnvironmentChildFlag[] = "--in-environment";

}  // namespace ballast::memory
