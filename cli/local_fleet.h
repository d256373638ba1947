// Local mode: a private coordinator and worker, children of this command.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/config.pb.h"
#include "cli/context.h"
#include "common/base/child_process.h"
#include "common/base/fd.h"

namespace ballast::cli {

// The private coordinator of one data directory, on a unix socket. One command at a time owns it and runs it as its
// child; others may talk to it meanwhile as guests. Ownership is a lock on a file that the children hold too, so the
// next owner never meets what is left of the one before. Open, StartWorker, RestartEnded and the destructor must be
// called on the main thread: the children die with the thread that started them.
class LocalFleet {
 public:
  enum class Role {
    kAny,    // a running private coordinator will do
    kOwner,  // wait until it is ours
  };

  // Becomes the owner (starting the coordinator) or, where another command is the owner and `role` allows it, a guest.
  // Blocks until the coordinator listens, and, to become owner, until the command that is in the way has ended, saying
  // so on `context.err`. PERMISSION_DENIED: the data directory cannot be written; UNAVAILABLE: the coordinator does not
  // start; CANCELLED on an interrupt.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<LocalFleet>> Open(const std::filesystem::path& data_directory,
                                                                        Role role, Context& context);

  // Ends the worker, then the coordinator: SIGTERM, some seconds of patience, SIGKILL.
  ~LocalFleet();
  LocalFleet(const LocalFleet&) = delete;
  LocalFleet& operator=(const LocalFleet&) = delete;

  [[nodiscard]] bool owner() const { return lock_.valid(); }
  // `unix:/PATH`.
  [[nodiscard]] std::string address() const { return "unix:" + socket_.string(); }

  // What the worker that is started next may run for jobs, beside nothing else.
  void OfferCommand(const v1::CommandDefinition& command);

  // Starts the worker; owner only. It connects by itself: wait for its device. UNAVAILABLE when the program cannot be
  // run.
  [[nodiscard]] absl::Status StartWorker();

  // OK while the children that were started run; UNAVAILABLE with the end of its log when one has ended.
  [[nodiscard]] absl::Status CheckChildren();

  // Starts each child again that was started and has ended, and tells `note` of it. Blocks until the coordinator
  // listens; the worker connects by itself. UNAVAILABLE with the end of its log when one has ended too often to go on;
  // otherwise as Open.
  [[nodiscard]] absl::Status RestartEnded(const std::function<void(const std::string&)>& note);

  // Descriptors that become readable when a child ends, for the children that run. They stay owned and are closed by
  // the calls that start or end children: duplicate them for another thread.
  [[nodiscard]] std::vector<int> ChildFds() const;

  // Without patience: the destructor will send SIGKILL at once.
  void GiveUpGracefulEnd() { patient_ = false; }

 private:
  struct Child {
    base::ChildProcess process;
    std::filesystem::path log;
    std::uintmax_t log_start = 0;  // size of the log when the child was started
    std::string name;
  };

  static constexpr int kMostRestarts = 3;  // of each child

  LocalFleet(std::filesystem::path directory, Context& context);

  [[nodiscard]] absl::Status StartCoordinator();
  [[nodiscard]] absl::StatusOr<Child> StartChild(const std::string& program, std::vector<std::string> arguments,
                                                 const std::string& name, int stdout_fd, int config_fd = -1);
  [[nodiscard]] absl::Status Ended(Child& child, const std::string& what) const;
  static void End(Child* child, bool patient);

  std::filesystem::path directory_;
  Context& context_;
  std::filesystem::path socket_;
  v1::WorkerConfig worker_config_;
  base::Fd lock_;                // valid for the owner alone
  base::Fd coordinator_stdout_;  // stays open, so that the coordinator never writes into a closed pipe
  Child coordinator_;
  Child worker_;
  int coordinator_restarts_ = 0;
  int worker_restarts_ = 0;
  bool patient_ = true;
};

// Where the socket of a data directory lies: in it, or, where that path would be too long for a unix socket, in a
// private directory below
// `$XDG_RUNTIME_DIR` or /tmp, which is created. PERMISSION_DENIED when somebody else has that directory.
[[nodiscard]] absl::StatusOr<std::filesystem::path> SocketPath(const std::filesystem::path& data_directory,
                                                               const Context& context);

// `models.yaml` beside the configuration file, checked; empty where there is none. INVALID_ARGUMENT lists every problem
// as FILE:LINE:COLUMN.
[[nodiscard]] absl::StatusOr<std::filesystem::path> UsersCatalogue(const Context& context);

// The path of a program of this project: beside this one, or on PATH. NOT_FOUND is reported as UNAVAILABLE: nothing can
// be run.
[[nodiscard]] absl::StatusOr<std::filesystem::path> FindProgram(const std::string& name, const Context& context);

}  // namespace ballast::cli
