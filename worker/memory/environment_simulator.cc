#include "ballast/environment_simulator.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/base/child_process.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/environment/catalogue.h"
#include "common/environment/container.h"
#include "common/environment/script.h"
#include "common/environment/shell_quote.h"
#include "common/os/cgroup.h"
#include "worker/memory/environment_child.h"
#include "worker/memory/runner_program.h"

namespace ballast {
namespace {

// What docker and podman exit with themselves.
constexpr int kEngineFailed = 125;
constexpr int kCannotExecute = 126;
constexpr int kNoSuchProgram = 127;
constexpr int kKilled = 137;

std::string SwapText(const v1::SwapLimit& swap) {
  switch (swap.kind()) {
    case v1::SwapLimit::DEVICE:
      return base::FormatBytes(swap.size_bytes());
    case v1::SwapLimit::ZRAM:
      return base::FormatBytes(swap.size_bytes()) + " zram";
    default:
      return "none";
  }
}

absl::StatusOr<std::vector<std::string>> ContainerCommand(const v1::EnvironmentProfile& profile,
                                                          const std::vector<std::string>& command,
                                                          const ContainerOptions& options) {
  profiles::ContainerHost host;
  BALLAST_ASSIGN_OR_RETURN(host.engine, profiles::ParseEngine(options.engine));
  if (const auto location = os::LocateCgroups(); location.ok() && location->memory_version == 1) {
    host.cgroup_version = 1;
  }
  host.io_device = options.io_device;
  const std::string image = options.image.empty() ? std::string(profiles::kDefaultImage) : options.image;
  return profiles::RunCommand(profile, host, image, command);
}

bool IsBatch(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return extension == ".bat" || extension == ".cmd";
}

}  // namespace

absl::StatusOr<std::unique_ptr<EnvironmentSimulator>> EnvironmentSimulator::Create(
    EnvironmentSimulatorOptions options) {
  std::vector<std::filesystem::path> files;
  if (!options.environment_file.empty()) files.push_back(options.environment_file);
  BALLAST_ASSIGN_OR_RETURN(v1::EnvironmentCatalogue profiles, profiles::LoadEnvironments(files));
  return std::unique_ptr<EnvironmentSimulator>(new EnvironmentSimulator(std::move(options), std::move(profiles)));
}

absl::StatusOr<v1::EnvironmentProfile> EnvironmentSimulator::FindProfile(const std::string& name) const {
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentProfile* const profile, profiles::GetProfile(profiles_, name));
  return *profile;
}

void EnvironmentSimulator::PrintProfiles(std::ostream& out) const {
  for (const v1::EnvironmentProfile& profile : profiles_.environments()) {
    out << profile.name();
    if (!profile.aliases().empty()) out << fmt::format(" ({})", fmt::join(profile.aliases(), ", "));
    out << fmt::format("\n  memory {}, swap {}", base::FormatBytes(profile.memory_bytes()), SwapText(profile.swap()));
    if (profile.cpus() > 0) out << fmt::format(", {:g} processors", profile.cpus());
    out << "\n";
    for (const std::string& description : {profile.description(), profile.description_zh()}) {
      if (!description.empty()) out << "  " << description << "\n";
    }
  }
}

absl::StatusOr<std::string> EnvironmentSimulator::GenerateDockerCommand(const std::string& profile_name,
                                                                        const std::string& command,
                                                                        const ContainerOptions& options) const {
  return GenerateDockerCommand(profile_name, std::vector<std::string>{"sh", "-c", command}, options);
}

absl::StatusOr<std::string> EnvironmentSimulator::GenerateDockerCommand(const std::string& profile_name,
                                                                        const std::vector<std::string>& command,
                                                                        const ContainerOptions& options) const {
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentProfile profile, FindProfile(profile_name));
  BALLAST_ASSIGN_OR_RETURN(const std::vector<std::string> words, ContainerCommand(profile, command, options));
  return profiles::QuoteCommand(profiles::Shell::kSh, words);
}

absl::Status EnvironmentSimulator::CreateTestScript(const std::string& profile_name,
                                                    const std::filesystem::path& path) const {
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentProfile profile, FindProfile(profile_name));
  std::string script;
  if (IsBatch(path)) {
    BALLAST_ASSIGN_OR_RETURN(script, profiles::BatchScript(profiles_, profile.name()));
  } else {
    script = profiles::ShellScript(profiles_, profile.name());
  }
  BALLAST_RETURN_IF_ERROR(base::WriteFileAtomically(path, script));
  if (!IsBatch(path) && ::chmod(path.c_str(), 0755) != 0) {
    return base::ErrnoStatus(errno, fmt::format("make {} executable", path.string()));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::RunResult> EnvironmentSimulator::Run(const std::string& profile_name,
                                                        const std::vector<std::string>& argv) const {
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentProfile profile, FindProfile(profile_name));
  BALLAST_ASSIGN_OR_RETURN(const std::filesystem::path runner, memory::FindRunner(options_.runner_program));
  return memory::RunInChild(runner, profile, argv);
}

absl::StatusOr<v1::RunResult> EnvironmentSimulator::RunContainer(const std::string& profile_name,
                                                                 const std::vector<std::string>& argv,
                                                                 const ContainerOptions& options) const {
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentProfile profile, FindProfile(profile_name));
  base::ChildOptions child_options;
  BALLAST_ASSIGN_OR_RETURN(child_options.argv, ContainerCommand(profile, argv, options));
  child_options.own_process_group = false;
  absl::StatusOr<base::ChildProcess> child = base::ChildProcess::Start(child_options);
  if (absl::IsNotFound(child.status())) {
    return absl::NotFoundError(
        fmt::format("{} is not installed; install it, or use Run(), which needs none", options.engine));
  }
  BALLAST_RETURN_IF_ERROR(child.status());
  const base::ExitStatus exit = child->Wait().value_or(base::ExitStatus{.exit_code = -1});

  v1::RunResult result;
  v1::Outcome* const outcome = result.mutable_outcome();
  outcome->mutable_evidence()->set_exit_code(exit.exit_code);
  outcome->mutable_evidence()->set_signal(exit.signal);
  outcome->set_kind(v1::COMMAND_FAILED);
  if (exit.signal != 0) {
    outcome->set_message(fmt::format("{} was ended by signal {}", options.engine, exit.signal));
  } else if (exit.exit_code == 0) {
    outcome->set_kind(v1::COMPLETED);
    outcome->set_message("the container exited with 0");
  } else if (exit.exit_code == kEngineFailed) {
    outcome->set_kind(v1::ENVIRONMENT_REFUSED);
    outcome->set_message(fmt::format("{} could not run the container: it says why on standard error", options.engine));
  } else if (exit.exit_code == kCannotExecute || exit.exit_code == kNoSuchProgram) {
    outcome->set_kind(v1::INVALID);
    outcome->set_message("the command cannot be started in the container");
  } else if (exit.exit_code == kKilled) {
    outcome->set_message("the container was killed (SIGKILL): at its memory limit, or by somebody");
  } else {
    outcome->set_message(fmt::format("the container exited with {}", exit.exit_code));
  }
  return result;
}

}  // namespace ballast
