// Where a command goes: to a coordinator of a fleet, or to a private one on this machine.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "cli/context.h"

namespace ballast::cli {

// The flags that say where to.
struct ConnectionFlags {
  std::string coordinator;  // --coordinator; empty where it was not given
  bool insecure = false;    // --insecure
};

// Written in place of an address: use this machine although another place names a coordinator.
inline constexpr char kLocalCoordinator[] = "local";

struct Target {
  std::string address;  // of the fleet's coordinator; empty means local mode
  std::string source;   // what named it, for messages: `--coordinator`, `BALLAST_COORDINATOR`, a file
  bool insecure = false;

  [[nodiscard]] bool local() const { return address.empty(); }
};

// The first that says something wins: the flag, BALLAST_COORDINATOR, the configuration file; otherwise local mode.
// INVALID_ARGUMENT when the configuration file is not valid.
[[nodiscard]] absl::StatusOr<Target> FindTarget(const ConnectionFlags& flags, const Context& context);

// `$XDG_CONFIG_HOME/ballast/config.yaml`, below `~/.config` where that is not set. FAILED_PRECONDITION without a home.
[[nodiscard]] absl::StatusOr<std::filesystem::path> ConfigFile(const Context& context);

// `$XDG_DATA_HOME/ballast`, below `~/.local/share` where that is not set. FAILED_PRECONDITION without a home.
[[nodiscard]] absl::StatusOr<std::filesystem::path> DataDirectory(const Context& context);

}  // namespace ballast::cli
