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

 private:
  explicit KernelLog(base::Fd fd) : fd_(std::move(fd)) {}
  base::Fd fd_;
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
};
[[nodiscard]] OomVerdict FindOomVerdict(const std::vector<std::string>& messages, pid_t pid);

}  // namespace ballast::agent
