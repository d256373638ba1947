// The owner of a child process.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::base {

// How a child ended: exactly one of the two.
struct ExitStatus {
  int exit_code = 0;  // meaningful where `signal` is 0; -1 where something else in this process reaped the child
  int signal = 0;     // signal that ended it, 0 where it exited by itself

  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

struct ChildOptions {
  // Program and arguments; argv[0] is the path of the program (looked up on PATH where it has no slash).
  std::vector<std::string> argv;
  // Descriptors of this process that the child gets, each with the number it has there. Others are closed on exec if
  // O_CLOEXEC.
  struct PassedFd {
    int from;
    int to;
  };
  std::vector<PassedFd> passed_fds = {};
  // A process group of its own, so that the child and whatever it starts can be killed together.
  bool own_process_group = true;
  // Signal the child gets when the *thread* that started it ends (prctl PR_SET_PDEATHSIG); 0 for none. Start such a
  // child only from a thread that lives as long as the process.
  int parent_death_signal = 0;
  // Value written to the child's /proc/self/oom_score_adj before exec (-1000…1000); nothing where absent. Refusal by
  // the kernel is ignored.
  std::optional<int> oom_score_adj = std::nullopt;
  // Where the child starts; empty: where this process is.
  std::string working_directory = {};
  // Directories of the cgroups that the child is in before exec, one a hierarchy. Start fails where one refuses it.
  std::vector<std::string> cgroups = {};
};

// Owns one child process. Destroying or assigning over a live one kills its process group with SIGKILL and reaps it, so
// no child outlives its owner. Move-only. Not thread-safe, except that pid() and pid_fd() may be read anywhere.
class ChildProcess {
 public:
  ChildProcess() = default;
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

  // Forks and execs. Returns after the exec: NOT_FOUND or PERMISSION_DENIED when the program cannot be run, or a cgroup
  // cannot be entered; the message says which. The child starts with the default signal mask and handlers.
  [[nodiscard]] static absl::StatusOr<ChildProcess> Start(const ChildOptions& options);

  [[nodiscard]] pid_t pid() const { return pid_; }
  // Becomes readable when the child has ended: for poll().
  [[nodiscard]] int pid_fd() const { return pid_fd_.get(); }
  // True from Start until the end was seen by Wait or TryWait.
  [[nodiscard]] bool running() const { return pid_ > 0 && !exit_.has_value(); }

  // Sends a signal to the process group (to the process alone where it has no group of its own). Nothing happens after
  // its end was seen.
  void Signal(int signal_number) const;

  // Reaps the child if it has ended. Repeatable.
  [[nodiscard]] std::optional<ExitStatus> TryWait();

  // What it took until its end, and the children that it waited for; nothing before its end was seen.
  [[nodiscard]] const std::optional<rusage>& usage() const { return usage_; }

  // Waits for its end; nothing when `timeout` passes first. A negative timeout waits for ever. Repeatable.
  [[nodiscard]] std::optional<ExitStatus> Wait(std::chrono::milliseconds timeout = std::chrono::milliseconds(-1));

 private:
  void KillAndReap();

  pid_t pid_ = 0;
  bool own_group_ = false;
  Fd pid_fd_;
  std::optional<ExitStatus> exit_;
  std::optional<rusage> usage_;
};

}  // namespace ballast::base
