#include "common/containers/engine.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <utility>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/next_step.h"
#include "common/base/program.h"
#include "common/base/status.h"

namespace ballast::containers {
namespace {

constexpr std::chrono::hours kWhile(1);

std::string InstallStep(profiles::Engine engine) {
  const bool docker = engine == profiles::Engine::kDocker;
  return fmt::format("install it (Debian: apt-get install {}), or run without containers (--engine native)",
                     docker ? "docker.io, or docker-ce from Docker's own packages" : "podman");
}

// What a descriptor's file has, from its beginning.
absl::StatusOr<std::string> Content(int fd) {
  std::string content;
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t size = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(content.size()));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return base::ErrnoStatus(errno, "read what the container engine said");
    if (size == 0) return content;
    content.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

std::string Trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

std::string NextStep(profiles::Engine engine, const std::string& said) {
  const auto says = [&said](const char* words) { return said.find(words) != std::string::npos; };
  if (says("permission denied") && says("docker.sock")) {
    return "run it as root or as a member of the group docker, or take podman (--engine podman)";
  }
  if (says("Cannot connect") || says("unable to connect") || says("failed to connect") || says("docker daemon")) {
    return "start the engine's service, or set DOCKER_HOST to where it listens";
  }
  if (says("unknown flag") || says("unknown shorthand flag")) {
    return fmt::format("leave that flag out (--engine-flag); {} create --help lists them",
                       profiles::EngineName(engine));
  }
  if (says("o command specified") || says("no command or entrypoint")) {
    return "give the command to run behind --: the image names none";
  }
  for (const char* const words : {"No such image", "image not known", "Unable to find image", "pull access denied",
                                  "short-name", "initializing source", "pinging container registry", "manifest unknown",
                                  "invalid reference format", "error pulling image"}) {
    if (says(words)) {
      return "name an image that is there, or can be pulled (--image); deploy/Dockerfile makes one with Ballast's "
             "programs";
    }
  }
  return fmt::format("{} info", profiles::EngineName(engine));
}

}  // namespace

absl::StatusOr<ContainerEngine> ContainerEngine::Find(profiles::Engine engine, std::string_view search_path,
                                                      base::Interruption* interruption) {
  const std::string name(profiles::EngineName(engine));
  auto program = base::FindOnPath(name, search_path);
  if (!program) {
    return base::WithNextStep(absl::FailedPreconditionError(fmt::format("there is no program {} on PATH", name)),
                              InstallStep(engine));
  }
  return ContainerEngine(engine, *std::move(program), interruption);
}

absl::StatusOr<EngineAnswer> ContainerEngine::Call(const std::vector<std::string>& arguments) const {
  return Call(arguments, /*to_the_end=*/false, /*directory=*/{});
}

absl::StatusOr<EngineAnswer> ContainerEngine::CallIn(const std::filesystem::path& directory,
                                                     const std::vector<std::string>& arguments) const {
  return Call(arguments, /*to_the_end=*/false, directory);
}

absl::StatusOr<EngineAnswer> ContainerEngine::CallToTheEnd(const std::vector<std::string>& arguments) const {
  return Call(arguments, /*to_the_end=*/true, /*directory=*/{});
}

absl::StatusOr<EngineAnswer> ContainerEngine::Call(const std::vector<std::string>& arguments, bool to_the_end,
                                                   const std::filesystem::path& directory) const {
  base::ChildOptions options;
  options.working_directory = directory.string();
  options.argv = {program_.string()};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  // Clearing up must not be ended by the Ctrl+C that made it necessary, which goes to the whole group.
  options.own_process_group = to_the_end;
  BALLAST_ASSIGN_OR_RETURN(const base::Fd nothing, base::OpenFile("/dev/null", O_RDONLY));
  const base::Fd out(::memfd_create("engine-out", MFD_CLOEXEC));
  const base::Fd err(::memfd_create("engine-err", MFD_CLOEXEC));
  if (!out.valid() || !err.valid()) return base::ErrnoStatus(errno, "memfd_create");
  options.passed_fds = {{nothing.get(), STDIN_FILENO}, {out.get(), STDOUT_FILENO}, {err.get(), STDERR_FILENO}};
  auto child = base::ChildProcess::Start(options);
  if (!child.ok()) return absl::InternalError(std::string(child.status().message()));
  EngineAnswer answer;
  if (!to_the_end) {
    while (!interruption_->WaitReadable(child->pid_fd(), kWhile)) {
      if (!interruption_->pending()) continue;
      child->Signal(SIGTERM);
      break;
    }
  }
  answer.status = child->Wait().value_or(base::ExitStatus{.exit_code = -1});
  if (!to_the_end && interruption_->pending()) return absl::CancelledError("interrupted");
  BALLAST_ASSIGN_OR_RETURN(answer.out, Content(out.get()));
  BALLAST_ASSIGN_OR_RETURN(answer.err, Content(err.get()));
  answer.out = Trimmed(std::move(answer.out));
  answer.err = Trimmed(std::move(answer.err));
  return answer;
}

absl::StatusOr<base::ChildProcess> ContainerEngine::Attach(const std::vector<std::string>& arguments) const {
  base::ChildOptions options;
  options.argv = {program_.string()};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.own_process_group = false;
  options.parent_death_signal = SIGTERM;
  return base::ChildProcess::Start(options);
}

absl::Status ContainerEngine::Failure(const std::string& what, const EngineAnswer& answer) const {
  const std::string said = answer.err.empty() ? answer.out : answer.err;
  return base::WithNextStep(
      base::WithDetail(absl::FailedPreconditionError(fmt::format("{} could not {}", name(), what)), said),
      NextStep(kind_, said));
}

}  // namespace ballast::containers
