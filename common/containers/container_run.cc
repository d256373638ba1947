#include "common/containers/container_run.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/next_step.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/containers/container_limits.h"
#include "common/environment/container.h"
#include "common/os/cgroup.h"

namespace ballast::containers {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kWhile = std::chrono::hours(1);
constexpr milliseconds kLookAgain(10);
constexpr milliseconds kEndPatience(5'000);
constexpr int kNotFoundCode = 127;
constexpr int kNotExecutableCode = 126;

constexpr std::string_view kNamePrefix = "ballast-env-";

// The process that made it stands in the name, for whoever finds what a killed one left.
absl::StatusOr<std::string> NewContainerName() {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) {
    return absl::InternalError("the kernel gives no random numbers");
  }
  return fmt::format("{}{}-{:016x}", kNamePrefix, ::getpid(), random);
}

// Where process identifiers mean the same as here: this boot of this machine, and its namespace.
std::string ProcessSpace() {
  std::string boot = base::ReadFile("/proc/sys/kernel/random/boot_id").value_or("");
  while (!boot.empty() && boot.back() == '\n') boot.pop_back();
  std::error_code error;
  const std::filesystem::path space = std::filesystem::read_symlink("/proc/self/ns/pid", error);
  return fmt::format("{}/{}", boot, space.string());
}

std::string SpaceLabel() {
  return "ballast.processes=" + ProcessSpace();
}

// A directory of the container's name, removed with what is in it.
class ScratchDirectory {
 public:
  [[nodiscard]] static std::filesystem::path PathFor(std::string_view container_name) {
    std::error_code error;
    return std::filesystem::temp_directory_path(error) / container_name;
  }
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ScratchDirectory>> Make(const std::string& container_name) {
    const std::filesystem::path path = PathFor(container_name);
    if (::mkdir(path.c_str(), 0700) != 0) return base::ErrnoStatus(errno, fmt::format("make {}", path.string()));
    return std::unique_ptr<ScratchDirectory>(new ScratchDirectory(path));
  }
  ~ScratchDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

// Removes the containers of programs that were killed before they could.
absl::Status RemoveLeftovers(const ContainerEngine& engine) {
  BALLAST_ASSIGN_OR_RETURN(const EngineAnswer answer,
                           engine.Call({"ps", "--all", "--filter", "label=" + SpaceLabel(), "--format", "{{.Names}}"}));
  if (!answer.ok()) return engine.Failure("list containers", answer);
  std::string_view names = answer.out;
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find('\n'));
    names.remove_prefix(name.size() == names.size() ? name.size() : name.size() + 1);
    if (!name.starts_with(kNamePrefix)) continue;
    pid_t owner = 0;
    const std::string_view number = name.substr(kNamePrefix.size());
    std::from_chars(number.data(), number.data() + number.size(), owner);
    if (owner <= 0 || ::kill(owner, 0) == 0 || errno != ESRCH) continue;
    BALLAST_RETURN_IF_ERROR(engine.Call({"rm", "--force", std::string(name)}).status());
    std::error_code error;
    std::filesystem::remove_all(ScratchDirectory::PathFor(name), error);
  }
  return absl::OkStatus();
}

// Removes the container at the end of its life, whether it was made or not.
class ContainerName {
 public:
  ContainerName(std::string name, const ContainerEngine* engine) : name_(std::move(name)), engine_(engine) {}
  ~ContainerName() { Remove(); }
  ContainerName(const ContainerName&) = delete;
  ContainerName& operator=(const ContainerName&) = delete;

  void Remove() {
    if (std::exchange(removed_, true)) return;
    // What it says does not matter: there may be no such container any more.
    [[maybe_unused]] const auto answer = engine_->CallToTheEnd({"rm", "--force", name_});
  }

 private:
  std::string name_;
  const ContainerEngine* engine_;
  bool removed_ = false;
};

// Reads a counter that is gone soon after the processes are: the file is open before.
class OomCounter {
 public:
  explicit OomCounter(const os::CgroupLocation& location) {
    auto file = base::OpenFile(fmt::format("{}/{}", location.memory_directories.front(),
                                           os::MemoryFilesOf(location.memory_version).oom_events),
                               O_RDONLY);
    if (file.ok()) file_ = *std::move(file);
  }

  void Read() {
    std::array<char, 4096> text{};
    const ssize_t size = file_.valid() ? ::pread(file_.get(), text.data(), text.size(), 0) : -1;
    if (size <= 0) return;
    kills_ = std::max(kills_.value_or(0), ParseOomKills({text.data(), static_cast<std::size_t>(size)}));
  }

  // Nothing where it could not be read in time.
  [[nodiscard]] std::optional<std::uint64_t> kills() const { return kills_; }

 private:
  base::Fd file_;
  std::optional<std::uint64_t> kills_;
};

// Flags that would take the container out of the hands of this program: it would not be found again, not be removed, or
// be gone before it could be asked how it ended.
absl::Status CheckEngineFlags(const std::vector<std::string>& flags) {
  constexpr std::array<std::string_view, 7> kOwn = {"--name", "--rm",     "--restart",    "--replace",
                                                    "--pod",  "--detach", "--pod-id-file"};
  for (const std::string& flag : flags) {
    const std::string_view name = std::string_view(flag).substr(0, flag.find('='));
    if (std::ranges::find(kOwn, name) == kOwn.end()) continue;
    return base::WithNextStep(
        absl::InvalidArgumentError(fmt::format("the engine cannot be given {}: the container's name and life are this "
                                               "program's own, which removes it in the end",
                                               std::string(name))),
        fmt::format("leave {} out", name));
  }
  return absl::OkStatus();
}

absl::Status ToStatus(const environment::EnvironmentRefusal& refusal, const v1::AppliedEnvironment& applied) {
  std::string detail = refusal.place;
  for (const std::string& reading : applied.readings()) {
    if (reading != refusal.place) detail += (detail.empty() ? "" : "\n") + reading;
  }
  return base::WithDetail(base::WithNextStep(absl::FailedPreconditionError(refusal.cause), refusal.next_step), detail);
}

class ContainerRun {
 public:
  ContainerRun(const v1::EnvironmentProfile& profile, const ContainerCommand& command, const ContainerEngine& engine,
               std::string name)
      : profile_(profile),
        command_(command),
        engine_(engine),
        interruption_(engine.interruption()),
        name_(std::move(name)),
        container_(name_, &engine_) {}

  absl::StatusOr<ContainerEnd> Run() {
    if (const auto refusal = CheckMachine(profile_)) return ToStatus(*refusal, {});
    BALLAST_RETURN_IF_ERROR(RemoveLeftovers(engine_));
    BALLAST_RETURN_IF_ERROR(Create());
    BALLAST_RETURN_IF_ERROR(CheckWhatTheEngineKept());
    if (engine_.kind() == profiles::Engine::kPodman) {
      // Its first process is there, and waits: the limits are checked before the command begins.
      // Its monitor notes an OOM kill as a file where it was started.
      BALLAST_ASSIGN_OR_RETURN(scratch_, ScratchDirectory::Make(name_));
      BALLAST_ASSIGN_OR_RETURN(const EngineAnswer initialized, engine_.CallIn(scratch_->path(), {"init", name_}));
      if (!initialized.ok()) return StartFailure(initialized);
      BALLAST_RETURN_IF_ERROR(LookAtProcess().status());
      if (!counter_) {
        return absl::FailedPreconditionError("podman does not tell where the container's limits are on this machine");
      }
    }
    BALLAST_RETURN_IF_ERROR(DropPageCache());
    return FollowCommand();
  }

 private:
  absl::Status Create() {
    host_ = {.engine = engine_.kind(), .io_device = command_.io_device};
    if (const auto groups = os::LocateCgroups(); groups.ok() && groups->memory_version == 1) host_.cgroup_version = 1;
    // What no flag asks for and is seen to here is no remark.
    v1::EnvironmentProfile flagged = profile_;
    flagged.clear_page_cache();
    if (flagged.swap().kind() == v1::SwapLimit::ZRAM) flagged.mutable_swap()->set_kind(v1::SwapLimit::DEVICE);
    BALLAST_ASSIGN_OR_RETURN(const profiles::ContainerLimits limits, profiles::LimitsOf(flagged, host_));
    for (const std::string& remark : limits.remarks) end_.environment.add_remarks(remark);
    std::vector<std::string> arguments = {"create", "--interactive", "--name", name_, "--label", SpaceLabel()};
    if (::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1) arguments.emplace_back("--tty");
    arguments.insert(arguments.end(), command_.engine_flags.begin(), command_.engine_flags.end());
    arguments.insert(arguments.end(), limits.flags.begin(), limits.flags.end());
    arguments.push_back(command_.image);
    arguments.insert(arguments.end(), command_.command.begin(), command_.command.end());
    BALLAST_ASSIGN_OR_RETURN(const EngineAnswer created, engine_.Call(arguments));
    if (!created.ok()) return engine_.Failure(fmt::format("make a container of the image {}", command_.image), created);
    container_id_ = created.out.substr(created.out.rfind('\n') + 1);
    // docker goes on without a limit that the kernel does not know, and only warns.
    if (created.err.find("iscarded") != std::string::npos ||
        created.err.find("does not support") != std::string::npos) {
      return base::WithDetail(
          base::WithNextStep(absl::FailedPreconditionError(
                                 fmt::format("{} cannot keep to the limits of {}", engine_.name(), profile_.name())),
                             "a kernel that has these limits, or another profile"),
          created.err);
    }
    return absl::OkStatus();
  }

  // What the engine noted down, which it changes where it discards a limit.
  absl::Status CheckWhatTheEngineKept() {
    BALLAST_ASSIGN_OR_RETURN(
        const EngineAnswer answer,
        engine_.Call({"inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}", name_}));
    if (!answer.ok()) return engine_.Failure("tell the limits of the container", answer);
    const std::string wanted = fmt::format("{} {}", profile_.memory_bytes(), profiles::MemoryAndSwapBytes(profile_));
    if (answer.out == wanted) return absl::OkStatus();
    return base::WithNextStep(
        absl::FailedPreconditionError(fmt::format(
            "{} discarded a limit of {}: memory, and memory with swap, are {} bytes there, and {} were asked for",
            engine_.name(), profile_.name(), answer.out, wanted)),
        "a kernel that has these limits, or another profile; leave limits out of the engine's flags");
  }

  // Checks the limits and gets ready to see the end. False while there is no process.
  absl::StatusOr<bool> LookAtProcess() {
    BALLAST_ASSIGN_OR_RETURN(const EngineAnswer answer, engine_.Call({"inspect", "--format", "{{.State.Pid}}", name_}));
    pid_t pid = 0;
    std::from_chars(answer.out.data(), answer.out.data() + answer.out.size(), pid);
    if (!answer.ok() || pid <= 0) return false;
    process_.Reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    const auto place = LocateContainer(pid, container_id_);
    if (absl::IsNotFound(place.status())) {
      process_.Reset();
      return false;
    }
    BALLAST_RETURN_IF_ERROR(place.status());
    counter_.emplace(place->location);
    if (const auto refusal = CheckContainer(profile_, host_, *place, "/", &end_.environment)) {
      // Of a process that has ended meanwhile the kernel tells nothing more: what is missing says nothing of the
      // limits.
      if (!ProcessHasEnded()) return ToStatus(*refusal, end_.environment);
      end_.environment.add_remarks("The command ended before every limit was read back.");
    }
    return true;
  }

  [[nodiscard]] bool ProcessHasEnded() const {
    pollfd ended = {.fd = process_.get(), .events = POLLIN, .revents = 0};
    return process_.valid() && ::poll(&ended, 1, 0) == 1;
  }

  absl::Status DropPageCache() const {
    if (profile_.page_cache() != v1::COLD) return absl::OkStatus();
    ::sync();
    const auto file = base::OpenFile("/proc/sys/vm/drop_caches", O_WRONLY);
    absl::Status dropped = file.status();
    if (file.ok()) dropped = base::WriteAll(file->get(), "1\n");
    if (dropped.ok()) return dropped;
    return base::WithNextStep(absl::FailedPreconditionError(fmt::format(
                                  "{} wants a cold page cache: {}", profile_.name(), std::string(dropped.message()))),
                              "run it as root, or take a profile without page_cache");
  }

  absl::StatusOr<ContainerEnd> FollowCommand() {
    BALLAST_ASSIGN_OR_RETURN(base::ChildProcess client, engine_.Attach({"start", "--attach", "--interactive", name_}));
    const base::Fd events(::epoll_create1(EPOLL_CLOEXEC));
    if (!events.valid()) return base::ErrnoStatus(errno, "epoll_create1");
    Watch(events.get(), client.pid_fd());
    if (process_.valid()) Watch(events.get(), process_.get());
    std::optional<std::chrono::steady_clock::time_point> give_up;
    while (!client.TryWait().has_value()) {
      milliseconds patience = kWhile;
      if (give_up) {
        patience = std::chrono::ceil<milliseconds>(*give_up - std::chrono::steady_clock::now());
        if (patience.count() <= 0) break;
      } else if (!counter_) {
        patience = kLookAgain;
      }
      if (interruption_.WaitReadable(events.get(), patience)) {
        SeeEnd(events.get());
      } else if (interruption_.pending()) {
        if (give_up) break;  // the second one
        interruption_.Acknowledge();
        interrupted_ = true;
        // A Ctrl+C has reached the client already; a signal to this process alone has not.
        client.Signal(SIGTERM);
        give_up = std::chrono::steady_clock::now() + kEndPatience;
      } else if (!counter_ && !give_up) {
        BALLAST_ASSIGN_OR_RETURN(const bool there, LookAtProcess());
        if (there && process_.valid()) Watch(events.get(), process_.get());
      }
    }
    // Whatever still runs in it ends with it.
    if (interrupted_) container_.Remove();
    [[maybe_unused]] const auto status = client.Wait();
    if (counter_ && process_.valid()) counter_->Read();
    if (interrupted_) return absl::CancelledError("interrupted");
    return AskHowItEnded();
  }

  // The client's own exit code may be about the client.
  absl::StatusOr<ContainerEnd> AskHowItEnded() {
    BALLAST_ASSIGN_OR_RETURN(
        const EngineAnswer answer,
        engine_.Call({"inspect", "--format", "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}", name_}));
    if (!answer.ok()) return engine_.Failure("tell how the container ended", answer);
    std::istringstream words(answer.out);
    std::string state;
    int code = 0;
    std::string oom_killed;
    if (!(words >> state >> code >> oom_killed)) return engine_.Failure("tell how the container ended", answer);
    if (state != "created" && state != "configured" && state != "initialized") {
      end_.exit_code = code;
      end_.engine_says_oom_killed = oom_killed == "true";
      if (counter_) end_.oom_kills = counter_->kills();
      return std::move(end_);
    }
    // It never began. Once more without the streams, for what the engine says.
    BALLAST_ASSIGN_OR_RETURN(const EngineAnswer again, engine_.Call({"start", name_}));
    return StartFailure(again);
  }

  static void Watch(int events, int fd) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    ::epoll_ctl(events, EPOLL_CTL_ADD, fd, &event);
  }

  // The container's first process has ended, and its cgroup stands for some milliseconds more.
  void SeeEnd(int events) {
    std::array<epoll_event, 2> ready{};
    const int count = ::epoll_wait(events, ready.data(), ready.size(), 0);
    for (int i = 0; i < count; ++i) {
      if (!process_.valid() || ready[static_cast<std::size_t>(i)].data.fd != process_.get()) continue;
      counter_->Read();
      ::epoll_ctl(events, EPOLL_CTL_DEL, process_.get(), nullptr);
      process_.Reset();
    }
  }

  // The program is not there, or the engine does not work.
  absl::StatusOr<ContainerEnd> StartFailure(const EngineAnswer& answer) {
    const auto says = [&answer](const char* words) { return answer.err.find(words) != std::string::npos; };
    const std::string program = command_.command.empty() ? "its program" : base::Quoted(command_.command.front());
    if (says("executable file not found") || says("no such file or directory")) {
      end_.start = base::WithNextStep(
          absl::NotFoundError(fmt::format("the image {} has no program {}", command_.image, program)),
          "name an image that has it (--image)");
      end_.exit_code = kNotFoundCode;
      return std::move(end_);
    }
    if (says("permission denied") && says("exec")) {
      end_.start =
          absl::PermissionDeniedError(fmt::format("{} in the image {} cannot be executed", program, command_.image));
      end_.exit_code = kNotExecutableCode;
      return std::move(end_);
    }
    return engine_.Failure("start the container", answer);
  }

  const v1::EnvironmentProfile& profile_;
  const ContainerCommand& command_;
  const ContainerEngine& engine_;
  base::Interruption& interruption_;
  const std::string name_;
  std::unique_ptr<ScratchDirectory> scratch_;  // goes after the container
  ContainerName container_;
  std::string container_id_;
  base::Fd process_;  // the container's first process
  std::optional<OomCounter> counter_;
  profiles::ContainerHost host_;
  ContainerEnd end_;
  bool interrupted_ = false;
};

}  // namespace

absl::StatusOr<ContainerEnd> RunInContainer(const v1::EnvironmentProfile& profile, const ContainerCommand& command,
                                            const ContainerEngine& engine) {
  BALLAST_ASSIGN_OR_RETURN(std::string name, NewContainerName());
  BALLAST_RETURN_IF_ERROR(CheckEngineFlags(command.engine_flags));
  return ContainerRun(profile, command, engine, std::move(name)).Run();
}

}  // namespace ballast::containers
