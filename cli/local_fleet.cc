#include "cli/local_fleet.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "ballast/v1/model.pb.h"
#include "cli/error_text.h"
#include "cli/target.h"
#include "common/base/file.h"
#include "common/base/program.h"
#include "common/base/status.h"
#include "common/config/yaml.h"

namespace ballast::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStartPatience(15'000);
constexpr milliseconds kEndPatience(10'000);
constexpr milliseconds kRetry(10);
constexpr milliseconds kOwnerLookup(1'000);
constexpr int kInheritedLockFd = 9;
constexpr int kInheritedConfigFd = 10;
constexpr std::uintmax_t kMaxLogBytes = 4U << 20U;
constexpr std::size_t kTailLines = 12;
constexpr std::size_t kTailBytes = 16U << 10U;

bool SocketAnswers(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string text = path.string();
  if (text.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, text.data(), text.size());
  const base::Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return probe.valid() && ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address),
                                    static_cast<socklen_t>(sizeof address)) == 0;
}

// The process that the lock's file names, or 0.
pid_t ReadOwner(int lock_fd) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(lock_fd, text.data(), text.size(), 0);
  pid_t pid = 0;
  if (size <= 0 || std::from_chars(text.data(), text.data() + size, pid).ec != std::errc()) return 0;
  return pid;
}

void WriteOwner(int lock_fd) {
  const std::string text = fmt::format("{}\n", ::getpid());
  // Only for messages and for waiting on the right process; the lock itself is what counts.
  [[maybe_unused]] const int truncated = ::ftruncate(lock_fd, 0);
  [[maybe_unused]] const ssize_t written = ::pwrite(lock_fd, text.data(), text.size(), 0);
}

// Waits until the owner may have ended. False on an interrupt.
bool WaitForOwner(int lock_fd, Interrupts& interrupts) {
  const pid_t owner = ReadOwner(lock_fd);
  const base::Fd process(owner > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, owner, 0)) : -1);
  // No such process: it is ending, its children still hold the lock, or it has not yet written its name.
  if (!process.valid()) return !interrupts.WaitFor(kRetry);
  if (interrupts.WaitReadable(process.get(), kOwnerLookup)) return !interrupts.WaitFor(kRetry);
  return !interrupts.pending();
}

// The last lines of a log from `start` on.
std::string Tail(const std::filesystem::path& log, std::uintmax_t start) {
  auto content = base::ReadFile(log);
  if (!content.ok()) return {};
  std::string_view text = *content;
  text.remove_prefix(std::min<std::size_t>(start, text.size()));
  if (text.size() > kTailBytes) text.remove_prefix(text.size() - kTailBytes);
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  std::size_t begin = text.size();
  for (std::size_t lines = 0; lines < kTailLines && begin != std::string_view::npos; ++lines) {
    if (begin == 0) return std::string(text);
    begin = text.rfind('\n', begin - 1);
  }
  return std::string(begin == std::string_view::npos ? text : text.substr(begin + 1));
}

std::string Describe(const base::ExitStatus& status) {
  if (status.signal != 0) return fmt::format("was ended by signal {}", status.signal);
  return fmt::format("ended with exit code {}", status.exit_code);
}

absl::Status InterruptedError() {
  return absl::CancelledError("interrupted");
}

}  // namespace

absl::StatusOr<std::filesystem::path> SocketPath(const std::filesystem::path& data_directory, const Context& context) {
  const std::filesystem::path inside = data_directory / "coordinator.sock";
  if (inside.string().size() < sizeof(sockaddr_un::sun_path)) return inside;
  // FNV-1a over the path: the same directory must give the same socket in every command.
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : data_directory.string()) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  const auto runtime = context.variable("XDG_RUNTIME_DIR");
  const std::filesystem::path base = runtime && runtime->size() < 60 ? std::filesystem::path(*runtime) : "/tmp";
  const std::filesystem::path directory = base / fmt::format("ballast-{}", ::geteuid());
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return base::ErrnoStatus(errno, fmt::format("create {}", directory.string()));
  }
  struct stat info {};
  if (::lstat(directory.c_str(), &info) != 0)
    return base::ErrnoStatus(errno, fmt::format("look at {}", directory.string()));
  if (!S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() || (info.st_mode & 077U) != 0) {
    return WithNextStep(
        absl::PermissionDeniedError(fmt::format("{} is not a directory of this user alone", directory.string())),
        "set XDG_RUNTIME_DIR to a directory of your own, or XDG_DATA_HOME to a shorter path");
  }
  return directory / fmt::format("{:016x}.sock", hash);
}

absl::StatusOr<std::filesystem::path> FindProgram(const std::string& name, const Context& context) {
  if (const auto beside = context.program_directory / name; base::IsProgram(beside)) return beside;
  if (auto path = base::FindOnPath(name, context.variable("PATH").value_or(""))) return *std::move(path);
  return WithNextStep(
      absl::UnavailableError(fmt::format("local mode needs the program {}, which is neither in {} nor on PATH", name,
                                         context.program_directory.string())),
      fmt::format("install {} beside this program, or give --coordinator ADDR", name));
}

absl::StatusOr<std::filesystem::path> UsersCatalogue(const Context& context) {
  const auto config = ConfigFile(context);
  if (!config.ok()) return std::filesystem::path();  // without a home there is none
  const std::filesystem::path file = config->parent_path() / "models.yaml";
  v1::ModelCatalogue catalogue;
  const absl::Status read = config::ReadYamlFile(file, &catalogue);
  if (absl::IsNotFound(read)) return std::filesystem::path();
  if (!read.ok()) {
    return WithNextStep(absl::InvalidArgumentError(std::string(read.message())),
                        fmt::format("mend {}; configs/models.yaml shows how one looks", file.string()));
  }
  return file;
}

LocalFleet::LocalFleet(std::filesystem::path directory, Context& context)
    : directory_(std::move(directory)), context_(context) {
  // Whoever uses the private coordinator is the user, and may name any file that the user can read.
  worker_config_.mutable_policy()->add_model_directories("/");
}

absl::StatusOr<std::unique_ptr<LocalFleet>> LocalFleet::Open(const std::filesystem::path& data_directory, Role role,
                                                             Context& context) {
  const auto unusable = [&](const absl::Status& status) {
    // Whatever the reason, there is no private coordinator to be had here.
    return WithNextStep(absl::PermissionDeniedError(
                            fmt::format("the data directory cannot be used: {}", std::string(status.message()))),
                        fmt::format("make {} writable, or set XDG_DATA_HOME", data_directory.string()));
  };
  // This user's alone: whoever can reach the socket can load this machine.
  const absl::Status made = base::EnsureWritableDirectory(data_directory, base::kPrivateDirectoryMode);
  if (!made.ok()) return unusable(made);
  auto opened = base::OpenFile(data_directory / "lock", O_RDWR | O_CREAT, 0600);
  if (!opened.ok()) return unusable(opened.status());
  base::Fd lock = std::move(*opened);

  std::unique_ptr<LocalFleet> fleet(new LocalFleet(data_directory, context));
  BALLAST_ASSIGN_OR_RETURN(fleet->socket_, SocketPath(data_directory, context));
  bool said = false;
  while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return unusable(base::ErrnoStatus(errno, "lock"));
    if (role == Role::kAny) {
      if (SocketAnswers(fleet->socket_)) return fleet;
      // The owner is just starting or just ending.
      if (context.interrupts.WaitFor(kRetry)) return InterruptedError();
      continue;
    }
    if (!std::exchange(said, true)) {
      context.err << fmt::format(
                         "waiting for another ballast command (process {}) that uses this machine; Ctrl+C gives up\n",
                         ReadOwner(lock.get()))
                  << std::flush;
    }
    if (!WaitForOwner(lock.get(), context.interrupts)) return InterruptedError();
  }
  WriteOwner(lock.get());
  fleet->lock_ = std::move(lock);
  // Earlier versions left the user's variables in it when they were killed.
  ::unlink((data_directory / "worker.yaml").c_str());
  BALLAST_RETURN_IF_ERROR(fleet->StartCoordinator());
  return fleet;
}

LocalFleet::~LocalFleet() {
  if (!owner()) return;
  // The worker first: the coordinator then still hears its last words.
  End(&worker_, patient_);
  End(&coordinator_, patient_);
  ::unlink(socket_.c_str());
}

void LocalFleet::End(Child* child, bool patient) {
  if (patient && child->process.running()) {
    child->process.Signal(SIGTERM);
    [[maybe_unused]] const auto status = child->process.Wait(kEndPatience);
  }
  child->process = base::ChildProcess();
}

absl::StatusOr<LocalFleet::Child> LocalFleet::StartChild(const std::string& program, std::vector<std::string> arguments,
                                                         const std::string& name, int stdout_fd, int config_fd) {
  BALLAST_ASSIGN_OR_RETURN(const auto path, FindProgram(program, context_));
  Child child;
  child.name = name;
  child.log = directory_ / (name + ".log");
  std::error_code error;
  child.log_start = std::filesystem::file_size(child.log, error);
  if (error) child.log_start = 0;
  const bool start_over = child.log_start > kMaxLogBytes;
  if (start_over) child.log_start = 0;
  BALLAST_ASSIGN_OR_RETURN(const base::Fd log,
                           base::OpenFile(child.log, O_WRONLY | O_CREAT | O_APPEND | (start_over ? O_TRUNC : 0), 0600));
  BALLAST_ASSIGN_OR_RETURN(const base::Fd nothing, base::OpenFile("/dev/null", O_RDONLY));
  base::ChildOptions options;
  options.argv.push_back(path.string());
  for (std::string& argument : arguments) options.argv.push_back(std::move(argument));
  // The lock goes along, so that it is held until the last of the children (and of theirs) is gone, however this
  // process ends.
  options.passed_fds = {{nothing.get(), STDIN_FILENO},
                        {stdout_fd >= 0 ? stdout_fd : log.get(), STDOUT_FILENO},
                        {log.get(), STDERR_FILENO},
                        {lock_.get(), kInheritedLockFd}};
  if (config_fd >= 0) options.passed_fds.push_back({config_fd, kInheritedConfigFd});
  options.parent_death_signal = SIGKILL;
  auto started = base::ChildProcess::Start(options);
  if (!started.ok())
    return absl::UnavailableError(fmt::format("the private {}: {}", name, std::string(started.status().message())));
  child.process = std::move(*started);
  return child;
}

absl::Status LocalFleet::Ended(Child& child, const std::string& what) const {
  return WithNextStep(WithDetail(absl::UnavailableError(fmt::format("the private {} {}", child.name, what)),
                                 Tail(child.log, child.log_start)),
                      fmt::format("read {}", child.log.string()));
}

absl::Status LocalFleet::StartCoordinator() {
  // Holding the lock, so whoever made this socket is gone.
  ::unlink(socket_.c_str());
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return base::ErrnoStatus(errno, "pipe");
  coordinator_stdout_ = base::Fd(ends[0]);
  base::Fd writer(ends[1]);
  std::vector<std::string> arguments = {"--listen", address(), "--data-dir", (directory_ / "coordinator").string(),
                                        // Whoever works on one machine sees for himself what becomes of it.
                                        "--quarantine-after", "0"};
  BALLAST_ASSIGN_OR_RETURN(const std::filesystem::path catalogue, UsersCatalogue(context_));
  if (!catalogue.empty()) arguments.insert(arguments.end(), {"--models", catalogue.string()});
  BALLAST_ASSIGN_OR_RETURN(coordinator_, StartChild("ballast-coordinator", arguments, "coordinator", writer.get()));
  writer.Reset();  // so that its end shows as end of file

  // The line `listening on …` says that it is ready; end of file that it is not going to be.
  const auto deadline = std::chrono::steady_clock::now() + kStartPatience;
  std::string said;
  while (said.find('\n') == std::string::npos) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0)
      return Ended(coordinator_, fmt::format("does not listen after {} s", kStartPatience.count() / 1000));
    if (!context_.interrupts.WaitReadable(coordinator_stdout_.get(), left)) {
      if (context_.interrupts.pending()) return InterruptedError();
      continue;
    }
    std::array<char, 256> buffer{};
    const ssize_t size = ::read(coordinator_stdout_.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) {
      const auto status = coordinator_.process.Wait(kEndPatience);
      return Ended(coordinator_, status ? Describe(*status) : "closed its standard output");
    }
    said.append(buffer.data(), static_cast<std::size_t>(size));
  }
  if (!said.starts_with("listening on "))
    return Ended(coordinator_, fmt::format("said '{}'", said.substr(0, said.find('\n'))));
  return absl::OkStatus();
}

void LocalFleet::OfferCommand(const v1::CommandDefinition& command) {
  worker_config_.clear_commands();
  *worker_config_.add_commands() = command;
}

absl::Status LocalFleet::StartWorker() {
  if (!owner()) return absl::FailedPreconditionError("only the owner of the private coordinator starts its worker");
  if (worker_.process.running()) return absl::OkStatus();
  // It may hold the user's environment variables, and they may be secret: it never reaches a disk.
  const base::Fd config(::memfd_create("ballast-worker-config", MFD_CLOEXEC));
  if (!config.valid()) return base::ErrnoStatus(errno, "memfd_create");
  BALLAST_RETURN_IF_ERROR(base::WriteAll(config.get(), config::WriteYaml(worker_config_)));
  const std::vector<std::string> arguments = {"--coordinator", address(),
                                              "--data-dir",    (directory_ / "worker").string(),
                                              "--config",      fmt::format("/dev/fd/{}", kInheritedConfigFd)};
  BALLAST_ASSIGN_OR_RETURN(worker_, StartChild("ballast-worker", arguments, "worker", -1, config.get()));
  return absl::OkStatus();
}

absl::Status LocalFleet::CheckChildren() {
  for (Child* child : {&coordinator_, &worker_}) {
    if (child->process.pid() <= 0) continue;
    if (const auto status = child->process.TryWait()) return Ended(*child, Describe(*status));
  }
  return absl::OkStatus();
}

absl::Status LocalFleet::RestartEnded(const std::function<void(const std::string&)>& note) {
  // True: it has ended and may be started again.
  const auto ended = [&](Child& child, int& restarts) -> absl::StatusOr<bool> {
    if (child.process.pid() <= 0) return false;
    const auto status = child.process.TryWait();
    if (!status) return false;
    if (restarts == kMostRestarts) {
      return Ended(child, fmt::format("{}, after it had been started again {} times", Describe(*status), restarts));
    }
    ++restarts;
    note(fmt::format("the private {} {}; starting it again", child.name, Describe(*status)));
    return true;
  };
  BALLAST_ASSIGN_OR_RETURN(const bool coordinator_ended, ended(coordinator_, coordinator_restarts_));
  if (coordinator_ended) BALLAST_RETURN_IF_ERROR(StartCoordinator());
  BALLAST_ASSIGN_OR_RETURN(const bool worker_ended, ended(worker_, worker_restarts_));
  if (worker_ended) BALLAST_RETURN_IF_ERROR(StartWorker());
  return absl::OkStatus();
}

std::vector<int> LocalFleet::ChildFds() const {
  std::vector<int> fds;
  for (const Child* child : {&coordinator_, &worker_}) {
    if (child->process.running()) fds.push_back(child->process.pid_fd());
  }
  return fds;
}

}  // namespace ballast::cli
