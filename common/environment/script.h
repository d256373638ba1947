// Scripts that run a memory test in an environment: the way of teams that hand files around.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"

namespace ballast::profiles {

// Name of the script that has no environment of its own, without its ending.
inline constexpr std::string_view kGeneralScriptName = "run_memory_env_test";

// Both know every profile of `catalogue` by name and aliases, so they need no file beside them. They take
// `--environment NAME` and otherwise the flags of `ballast simple` (--mode, --duration, --target, …). `default_name` is
// the environment where none is named; empty: one must be.

// For POSIX shells: `ballast simple --env …`, here or on a fleet.
[[nodiscard]] std::string ShellScript(const v1::EnvironmentCatalogue& catalogue, std::string_view default_name);

// For cmd.exe, in UTF-8 with CR LF: `docker run LIMITS IMAGE ballast simple …`. BALLAST_IMAGE names another image than
// kDefaultImage, BALLAST_IO_DEVICE the disk that limits of its speed are for; where that is not set it is `io_device`,
// and where that is empty, a profile with such limits says what is missing when the script runs. INVALID_ARGUMENT for
// what cannot be written in such a file.
[[nodiscard]] absl::StatusOr<std::string> BatchScript(const v1::EnvironmentCatalogue& catalogue,
                                                      std::string_view default_name, std::string_view io_device = "");

// A script as a file.
struct ScriptFile {
  std::string name;  // of the file, `test_2gb-noswap.sh`
  std::string content;
  bool executable = false;
};

// Both for each profile, named by its first alias in ASCII (its name where it has none), and both without an
// environment of their own. `io_device` as above.
[[nodiscard]] absl::StatusOr<std::vector<ScriptFile>> AllScripts(const v1::EnvironmentCatalogue& catalogue,
                                                                 std::string_view io_device = "");

}  // namespace ballast::profiles
