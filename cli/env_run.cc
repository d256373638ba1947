// ballast env run
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <memory>

#include <fmt/format.h>

#include "cli/container_run.h"
#include "cli/env.h"
#include "cli/environments.h"
#include "cli/error_text.h"
#include "cli/local_fleet.h"
#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/config/yaml.h"

namespace ballast::cli {
namespace {

constexpr char kNative[] = "native";
constexpr char kExample[] = "ballast env run 2gb-noswap -- ./program --its-flags";

struct Flags {
  std::string name;
  std::string file;
  std::string engine = kNative;
  containers::ContainerCommand container;
  bool verbose = false;
  std::optional<std::vector<std::string>> command_line;
};

// Becomes the worker program, which applies the profile and runs the command. Returns only on failure.
absl::Status BecomeWorker(const v1::EnvironmentProfile& profile, const std::vector<std::string>& command,
                          Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const auto worker, FindProgram("ballast-worker", context));
  // Without MFD_CLOEXEC: the worker reads it.
  base::Fd file(::memfd_create("ballast-environment", 0));
  if (!file.valid()) return base::ErrnoStatus(errno, "memfd_create");
  BALLAST_RETURN_IF_ERROR(base::WriteAll(file.get(), config::WriteYaml(profile)));
  std::vector<std::string> arguments = {worker.string(), "--run-environment", fmt::format("/dev/fd/{}", file.get()),
                                        "--"};
  arguments.insert(arguments.end(), command.begin(), command.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  context.out.flush();
  context.err.flush();
  // What this program has set up for itself is not the command's.
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGPIPE, SIG_DFL);
  ::execv(argv.front(), argv.data());
  return base::ErrnoStatus(errno, fmt::format("start {}", worker.string()));
}

// What only containers have.
absl::Status CheckNoContainerFlags(const CLI::App& app) {
  for (const char* const flag : {"--image", "--engine-flag", "--io-device", "--verbose"}) {
    if (app.get_option(flag)->count() == 0) continue;
    return WithNextStep(absl::InvalidArgumentError(fmt::format("{} belongs to --engine docker and podman", flag)),
                        fmt::format("leave {} out, or give --engine podman", flag));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> RunInEnvironment(const Flags& flags, const CLI::App& app, Context& context) {
  const std::vector<std::string> command = flags.command_line.value_or(std::vector<std::string>());
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentProfile profile,
                           GetEnvironment(flags.name, flags.file, kExample, context));
  if (flags.engine != kNative) {
    const auto kind = EngineOfFlag(flags.engine);
    if (!kind.ok()) return WithNextStep(kind.status(), "--engine native, docker or podman");
    containers::ContainerCommand container = flags.container;
    container.command = command;
    return RunInContainer(profile, container, *kind, flags.verbose, context);
  }
  BALLAST_RETURN_IF_ERROR(CheckNoContainerFlags(app));
  BALLAST_RETURN_IF_ERROR(RequireArgument(!command.empty(), "the command, behind --,", kExample));
  return BecomeWorker(profile, command, context);
}

}  // namespace

void AddEnvRunCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<Flags>();
  flags->container.image = std::string(profiles::kDefaultImage);
  const auto self = std::make_shared<CLI::App*>(nullptr);
  CLI::App* command =
      tree.Add(group, "run", "Run a command in an environment: with its limits, or not at all.",
               {"ballast env run 极限2GB模式 -- ./program --its-flags", "ballast env run 4gb-swap -- sh",
                "ballast env run 2gb-noswap --engine podman --image debian:12 -- sh -c 'free -m'", "",
                "The exit code is the command's own; 128 + the signal where one ended it, 137 after an OOM kill, 127 "
                "where there is "
                "no such program, 6 where the limits cannot be kept."},
               [flags, self](Context& context) { return RunInEnvironment(*flags, **self, context); });
  *self = command;
  command->add_option("name", flags->name, "Name or alias")->type_name("NAME");
  tree.TakeCommandLine(command, &flags->command_line);
  command
      ->add_option("--engine", flags->engine,
                   "native (cgroups of this machine), docker or podman (a container; default native)")
      ->type_name("ENGINE");
  command->add_option("--image", flags->container.image, fmt::format("Image (default {})", profiles::kDefaultImage))
      ->type_name("IMAGE")
      ->group("Containers");
  command
      ->add_option("--engine-flag", flags->container.engine_flags,
                   "A flag for the engine, as --engine-flag=--volume=/a:/b; may be repeated")
      ->type_name("FLAG")
      ->group("Containers")
      ->allow_extra_args(false);
  command->add_option("--io-device", flags->container.io_device, "Disk that limits of its speed are for")
      ->type_name("DEVICE")
      ->group("Containers");
  command->add_flag("--verbose", flags->verbose, "Tell which limits were read back")->group("Containers");
  AddEnvironmentFileFlag(command, &flags->file);
}

}  // namespace ballast::cli
