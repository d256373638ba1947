// The kernel's log: what it says about the end of a process.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::agent {

// Follows the kernel's log from the moment it is opened. Move-only. Not thread-safe.
class KernelLog {
 public:
  // `root` is where /dev is found. PERMISSION_DENIED where the log is not for this process, NOT_FOUND where there is
  // none.
  [[nodiscard]] static absl::StatusOr<KernelLog> Open(const std::string& root = "/");

  // The messages since the last call, without blocking; what the kernel has already overwritten is lost. At most 4096
  // messages.
  [[nodiscard]] std::vector<std::string> ReadMessages();

  // Whether every message since the opening was handed out, and process identifiers in them are those that this process
  // sees: what the log does not say has then not happened.
  [[nodiscard]] bool TellsAll() const { return same_pids_ && !gap_; }

 private:
  KernelLog(base::Fd fd, bool same_pids) : fd_(std::move(fd)), same_pids_(same_pids) {}
  base::Fd fd_;
  bool same_pids_;
  bool gap_ = false;
};

// The text of a record as /dev/kmsg hands it out (`PRIORITY,SEQ,TIME,FLAGS;TEXT`), without the lines of key-value pairs
// behind it; nothing where it is none.
[[nodiscard]] std::optional<std::string_view> KernelMessageText(std::string_view record);

// Those of the messages that speak of the process: `process PID (`, `pid=PID`, `[PID]`, `PID: PID`. At most `limit`,
// the last ones.
[[nodiscard]] std::vector<std::string> MessagesAbout(const std::vector<std::string>& messages, pid_t pid,
                                                     std::size_t limit = 20);

// What the kernel says of an OOM kill of the process.
enum class OomVerdict {
  kNone,     // nothing
  kGlobal,   // killed because the machine had no memory left
  kMemcg,    // killed because a memory cgroup had reached its limit
  kUnclear,  // killed, but it does not say why
  kOther,    // the log tells all, and names only other victims
};
// kNone to kUnclear.
[[nodiscard]] OomVerdict FindOomVerdict(const std::vector<std::string>& messages, pid_t pid);
// Whether the messages name an OOM kill of any other process.
[[nodiscard]] bool NamesOtherVictim(const std::vector<std::string>& messages, pid_t pid);

}  // namespace ballast::agent
