// Environment profiles as limits of a container: the arguments that docker and podman take.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"

namespace ballast::profiles {

enum class Engine { kDocker, kPodman };

// `docker` or `podman`: the program's name.
[[nodiscard]] std::string_view EngineName(Engine engine);
// The other way round. INVALID_ARGUMENT with the nearest names.
[[nodiscard]] absl::StatusOr<Engine> ParseEngine(const std::string& text);

// The image that holds the programs of this project (deploy/Dockerfile).
inline constexpr std::string_view kDefaultImage = "ballast";

// More swappiness than that engines do not take.
inline constexpr std::uint32_t kMaxContainerSwappiness = 100;

// What is known of the machine on which the container runs.
struct ContainerHost {
  Engine engine = Engine::kDocker;
  // Version of the cgroups with the memory controller, 1 or 2: it decides which limits there are.
  int cgroup_version = 2;
  // Disk that limits of its speed are for, as `/dev/sda`.
  std::string io_device;
};

// A profile as flags of `docker run` and `podman run`.
struct ContainerLimits {
  std::vector<std::string> flags;
  // What of the profile no flag says, one sentence each, for people.
  std::vector<std::string> remarks;
};

// Memory, swap, swappiness, processors and the disk. INVALID_ARGUMENT where the profile limits a disk and none is
// given.
[[nodiscard]] absl::StatusOr<ContainerLimits> LimitsOf(const v1::EnvironmentProfile& profile,
                                                       const ContainerHost& host);

// What `--memory-swap` says for the profile: memory and swap together, in bytes.
[[nodiscard]] std::uint64_t MemoryAndSwapBytes(const v1::EnvironmentProfile& profile);

// `docker run --rm LIMITS IMAGE COMMAND…` as words; the image's own command where `command` is empty. Codes of
// LimitsOf.
[[nodiscard]] absl::StatusOr<std::vector<std::string>> RunCommand(const v1::EnvironmentProfile& profile,
                                                                  const ContainerHost& host, const std::string& image,
                                                                  const std::vector<std::string>& command);

}  // namespace ballast::profiles
