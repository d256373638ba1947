#include "worker/runner/program_start.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "worker/runner/system_user.h"

namespace ballast::runner {
namespace {

constexpr std::uint64_t kBlockBytes = 512;  // in which the kernel counts what a process reads and writes
constexpr unsigned kFirstOtherFd = 3;
constexpr unsigned kSetCloseOnExec = 1U << 2U;  // CLOSE_RANGE_CLOEXEC, which older headers lack

std::uint64_t Count(long value) {
  return value > 0 ? static_cast<std::uint64_t>(value) : 0;
}

google::protobuf::Duration ToDuration(const timeval& time) {
  return base::ToProto(std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec));
}

absl::Status TakeUser(const std::string& name) {
  const std::optional<SystemUser> user = FindUser(name);
  if (!user) {
    return absl::NotFoundError(
        fmt::format("there is no user '{}' in /etc/passwd, as which the program is to run", name));
  }
  if (user->uid == ::geteuid() && user->uid == ::getuid()) return absl::OkStatus();
  if (::geteuid() != 0) {
    return absl::PermissionDeniedError(fmt::format(
        "the program is to run as user '{}', which only root can arrange: run the worker as root or as that user",
        name));
  }
  const pid_t agent = ::getppid();
  const std::vector<gid_t> groups = GroupsOf(*user);
  if (::setgroups(groups.size(), groups.data()) != 0 || ::setresgid(user->gid, user->gid, user->gid) != 0 ||
      ::setresuid(user->uid, user->uid, user->uid) != 0) {
    return base::ErrnoStatus(errno, fmt::format("become user '{}'", name));
  }
  // The kernel forgets the signal with every change of user.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return base::ErrnoStatus(errno, "prctl PR_SET_PDEATHSIG");
  if (::getppid() != agent) return absl::CancelledError("the agent has ended");
  return absl::OkStatus();
}

void CloseOthersOnExec() {
  if (::syscall(SYS_close_range, kFirstOtherFd, ~0U, kSetCloseOnExec) == 0) return;
  std::error_code error;  // kernels before 5.11
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string name = entry.path().filename().string();
    int fd = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), fd).ec != std::errc()) continue;
    if (fd >= static_cast<int>(kFirstOtherFd)) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
}

void ResetSignals() {
  for (int number = 1; number <= SIGRTMAX; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

std::vector<char*> Pointers(const google::protobuf::RepeatedPtrField<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(static_cast<std::size_t>(strings.size()) + 1);
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// What a person would not guess from the reason alone.
std::string_view Hint(int error, const std::string& program) {
  if (error == ENOEXEC) return " (it is neither a program for this machine nor a script that begins with #!)";
  if (error == ENOENT && ::access(program.c_str(), F_OK) == 0) {
    return " (the file is there: what is missing is the interpreter or the loader that it names)";
  }
  return "";
}

}  // namespace

v1::ProgramBegin ReadOwnUsage() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  v1::ProgramBegin taken;
  taken.set_peak_resident_bytes(Count(usage.ru_maxrss) * 1024);
  taken.set_minor_faults(Count(usage.ru_minflt));
  taken.set_major_faults(Count(usage.ru_majflt));
  taken.set_disk_read_bytes(Count(usage.ru_inblock) * kBlockBytes);
  taken.set_disk_write_bytes(Count(usage.ru_oublock) * kBlockBytes);
  *taken.mutable_user_cpu_time() = ToDuration(usage.ru_utime);
  *taken.mutable_system_cpu_time() = ToDuration(usage.ru_stime);
  return taken;
}

absl::Status EnterProgramContext(const v1::CommandTask& task) {
  if (task.argv().empty()) return absl::InvalidArgumentError("no program was named");
  if (!task.user().empty()) BALLAST_RETURN_IF_ERROR(TakeUser(task.user()));
  // As that user: what it may not enter, the program may not either.
  if (!task.working_directory().empty() && ::chdir(task.working_directory().c_str()) != 0) {
    return base::ErrnoStatus(errno, fmt::format("enter the working directory {}", task.working_directory()));
  }
  return absl::OkStatus();
}

absl::Status BecomeProgram(const v1::CommandTask& task) {
  const std::vector<char*> argv = Pointers(task.argv());
  const std::vector<char*> environment = Pointers(task.environment());
  CloseOthersOnExec();
  ResetSignals();
  ::execve(argv.front(), argv.data(), environment.data());
  const int error = errno;
  return base::ErrnoStatus(error, fmt::format("start {}{}", task.argv(0), Hint(error, task.argv(0))));
}

}  // namespace ballast::runner
