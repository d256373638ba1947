// Environment profiles: machines that behave as smaller ones, for another program's commands.
#pragma once

#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/installed_runner.h"  // IWYU pragma: keep
#include "ballast/v1/environment.pb.h"
#include "ballast/v1/run.pb.h"

namespace ballast {

struct EnvironmentSimulatorOptions {
  // Profiles of the user's own, before those that come with the library (see configs/low_mem_env.yaml).
  std::filesystem::path environment_file{};
  // The program `ballast-runner`: see MemoryPressurerOptions.
  std::filesystem::path runner_program{};
};

// How a container is run.
struct ContainerOptions {
  // `docker` or `podman`.
  std::string engine = "docker";
  // The image; empty for the one that holds Ballast's own programs.
  std::string image{};
  // Disk that limits of its speed are for, as `/dev/sda`; needed by profiles that have such limits.
  std::string io_device{};
};

// Loads profiles, writes down how they are had, and runs commands in them. Profiles are named by name or alias, where
// upper and lower case of ASCII letters are the same; a name that there is not is NOT_FOUND, with the nearest names.
// Thread-safe.
class EnvironmentSimulator {
 public:
  // INVALID_ARGUMENT lists every mistake of the user's file as FILE:LINE:COLUMN; NOT_FOUND and PERMISSION_DENIED name
  // the file.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<EnvironmentSimulator>> Create(
      EnvironmentSimulatorOptions options = {});

  // The user's own first.
  [[nodiscard]] const v1::EnvironmentCatalogue& profiles() const { return profiles_; }
  [[nodiscard]] absl::StatusOr<v1::EnvironmentProfile> FindProfile(const std::string& name) const;

  // A table of them, in UTF-8.
  void PrintProfiles(std::ostream& out) const;

  // The command line for a POSIX shell that runs `command` in a container with the profile's limits, quoted. A text is
  // a command line of its own, which the container's `sh` reads; words are a program and its arguments.
  // INVALID_ARGUMENT for an unknown engine, and where a profile limits a disk and none is named.
  [[nodiscard]] absl::StatusOr<std::string> GenerateDockerCommand(const std::string& profile_name,
                                                                  const std::string& command,
                                                                  const ContainerOptions& options = {}) const;
  [[nodiscard]] absl::StatusOr<std::string> GenerateDockerCommand(const std::string& profile_name,
                                                                  const std::vector<std::string>& command,
                                                                  const ContainerOptions& options = {}) const;

  // Writes a script that runs `ballast simple` in the profile unless `--environment` says another one, and takes its
  // flags: for cmd.exe where the name ends in `.bat` or `.cmd`, else for a POSIX shell, executable. Codes of the file
  // system.
  [[nodiscard]] absl::Status CreateTestScript(const std::string& profile_name, const std::filesystem::path& path) const;

  // Runs a command with the profile's limits, in cgroups of this machine, and waits for its end. It has this program's
  // standard streams and working directory. This program itself is not limited, moved or signalled. The result's
  // outcome is COMPLETED (exit code 0), COMMAND_FAILED, OOM_KILLED, INVALID (it cannot be started) or
  // ENVIRONMENT_REFUSED (the limits cannot be had truly; nothing was started), with exit code and signal in the
  // evidence; `environment` has the limits as the kernel gave them back. NOT_FOUND where there is no runner.
  [[nodiscard]] absl::StatusOr<v1::RunResult> Run(const std::string& profile_name,
                                                  const std::vector<std::string>& argv) const;

  // The same in a container; the image's own command where `argv` is empty. The limits are read back from the
  // container's cgroups up to the root, and the container is removed, whatever happens. ENVIRONMENT_REFUSED where a
  // limit was not kept, and where the engine itself does not work. OOM_KILLED is told by the kernel's counter; where
  // that cannot be read (an engine on another machine), a container that was killed is COMMAND_FAILED. NOT_FOUND where
  // the engine is not installed, INVALID_ARGUMENT where `io_device` is missing. Call it from a thread that stays:
  // the engine's client ends with it.
  [[nodiscard]] absl::StatusOr<v1::RunResult> RunContainer(const std::string& profile_name,
                                                           const std::vector<std::string>& argv,
                                                           const ContainerOptions& options = {}) const;

 private:
  EnvironmentSimulator(EnvironmentSimulatorOptions options, v1::EnvironmentCatalogue profiles)
      : options_(std::move(options)), profiles_(std::move(profiles)) {}

  const EnvironmentSimulatorOptions options_;
  const v1::EnvironmentCatalogue profiles_;
};

}  // namespace ballast
