// Who asked the runner to end by a signal.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <thread>

#include "absl/status/statusor.h"
#include "ballast/v1/run.pb.h"
#include "common/base/fd.h"

namespace ballast::runner {

// Takes SIGTERM as a wish to end the workload, and keeps who sent the first one: userspace OOM daemons ask with it
// before they kill, and their name can be read only while they are still there. Owns a thread. Not thread-safe.
class TerminationWatch {
 public:
  // Blocks SIGTERM in this thread, and so in all that it starts from now on: call it before there are others. On a
  // SIGTERM `stop` is requested; `stop` outlives the watch. Codes of ErrnoStatus.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<TerminationWatch>> Start(std::stop_source* stop);
  // Ends the thread.
  ~TerminationWatch();
  TerminationWatch(const TerminationWatch&) = delete;
  TerminationWatch& operator=(const TerminationWatch&) = delete;

  // Ends the thread, and says whose SIGTERM stopped the workload; nothing where it was stopped by something else
  // before, or not at all. The sender's pid is 0 where this process's pid namespace does not show it.
  [[nodiscard]] std::optional<v1::SignalSender> Finish();

 private:
  TerminationWatch() = default;
  void Watch();

  base::Fd signals_;
  base::Fd finish_;
  std::stop_source* stop_ = nullptr;
  std::optional<v1::SignalSender> sender_;  // the thread's until it has ended
  std::jthread thread_;
};

}  // namespace ballast::runner
