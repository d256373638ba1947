#include "ballast/environment_simulator.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/base/file.h"
#include "common/base/interruption.h"
#include "common/base/next_step.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/containers/container_run.h"
#include "common/environment/catalogue.h"
#include "common/environment/container.h"
#include "common/environment/script.h"
#include "common/environment/shell_quote.h"
#include "common/os/cgroup.h"
#include "worker/memory/environment_child.h"
#include "worker/memory/runner_program.h"

namespace ballast {
namespace {

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

std::string ImageOf(const ContainerOptions& options) {
  return options.image.empty() ? std::string(profiles::kDefaultImage) : options.image;
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
  return profiles::RunCommand(profile, host, ImageOf(options), command);
}

// In one line.
std::string RefusalText(const absl::Status& status) {
  std::string text(status.message());
  if (auto detail = base::DetailOf(status); detail && !detail->empty()) {
    std::ranges::replace(*detail, '\n', ';');
    text += fmt::format(" ({})", *detail);
  }
  if (const auto next_step = base::NextStepOf(status)) text += fmt::format("; try: {}", *next_step);
  return text;
}

v1::Outcome OutcomeOf(const v1::EnvironmentProfile& profile, const containers::ContainerEnd& end) {
  v1::Outcome outcome;
  v1::Evidence* const evidence = outcome.mutable_evidence();
  evidence->set_exit_code(end.exit_code);
  evidence->set_cgroup_oom_kill_count(end.oom_kills.value_or(0));
  outcome.set_kind(v1::COMMAND_FAILED);
  if (!end.start.ok()) {
    outcome.set_kind(v1::INVALID);
    outcome.set_message(std::string(end.start.message()));
  } else if (end.oom_killed()) {
    outcome.set_kind(v1::OOM_KILLED);
    evidence->set_killer(v1::KERNEL_MEMCG_OOM);
    evidence->set_signal(SIGKILL);
    evidence->set_oom_cgroup(end.environment.cgroup());
    outcome.set_message(fmt::format("the kernel ended the command at the limit of {} (memory {}, swap {})",
                                    profile.name(), base::FormatBytes(profile.memory_bytes()),
                                    SwapText(profile.swap())));
  } else if (end.exit_code == 0) {
    outcome.set_kind(v1::COMPLETED);
    outcome.set_message("the container exited with 0");
  } else if (end.exit_code == containers::ContainerEnd::kKilledCode) {
    evidence->set_signal(SIGKILL);
    outcome.set_message(end.oom_kills
                            ? "the container was killed (SIGKILL), not at a limit: the kernel counts no OOM kill"
                            : "the container was killed (SIGKILL): at its memory limit, or by somebody; the "
                              "kernel's count of OOM kills could not be read");
  } else {
    outcome.set_message(fmt::format("the container exited with {}", end.exit_code));
  }
  if (end.oom_kills.value_or(0) > 0 && outcome.kind() != v1::OOM_KILLED) {
    evidence->add_findings(fmt::format("the kernel ended {} of the command's processes at the limit", *end.oom_kills));
  }
  return outcome;
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
  BALLAST_ASSIGN_OR_RETURN(const profiles::Engine kind, profiles::ParseEngine(options.engine));
  base::NoInterruption never;
  const char* const search_path = std::getenv("PATH");
  const absl::StatusOr<containers::ContainerEngine> engine =
      containers::ContainerEngine::Find(kind, search_path == nullptr ? "" : search_path, &never);
  if (!engine.ok()) {
    return absl::NotFoundError(
        fmt::format("{} is not installed; install it, or use Run(), which needs none", options.engine));
  }
  absl::StatusOr<containers::ContainerEnd> end = containers::RunInContainer(
      profile, {.image = ImageOf(options), .command = argv, .engine_flags = {}, .io_device = options.io_device},
      *engine);
  v1::RunResult result;
  if (absl::IsFailedPrecondition(end.status())) {
    result.mutable_outcome()->set_kind(v1::ENVIRONMENT_REFUSED);
    result.mutable_outcome()->set_message(RefusalText(end.status()));
    return result;
  }
  BALLAST_RETURN_IF_ERROR(end.status());
  *result.mutable_outcome() = OutcomeOf(profile, *end);
  *result.mutable_environment() = std::move(end->environment);
  return result;
}

}  // namespace ballast
