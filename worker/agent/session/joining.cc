#include "worker/agent/session/joining.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/next_step.h"

namespace ballast::agent {
namespace {

constexpr std::chrono::milliseconds kFirstPause = std::chrono::seconds(1);
constexpr std::chrono::milliseconds kLongestPause = std::chrono::seconds(30);

}  // namespace

absl::Status KeepJoining(const std::function<absl::Status()>& join,
                         const std::function<bool(std::chrono::milliseconds pause)>& wait) {
  std::chrono::milliseconds pause = kFirstPause;
  while (true) {
    absl::Status status = join();
    const bool too_many = absl::IsResourceExhausted(status);
    if (!too_many && !absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
    base::Log().warn("{}; {}trying again in {} s", std::string(status.message()),
                     too_many ? "the token is still good and this worker waits, " : "",
                     std::chrono::ceil<std::chrono::seconds>(pause).count());
    if (wait(pause)) return absl::CancelledError("stopped");
    pause = std::min(pause * 2, kLongestPause);
  }
}

std::string NextStepOfJoining(const absl::Status& status, const std::string& device_id) {
  if (std::optional<std::string> step = base::NextStepOf(status)) return *std::move(step);
  if (absl::IsInvalidArgument(status)) return "give another --device-id";
  return fmt::format("ask for a join token: ballast token create --role worker --name {}", device_id);
}

}  // namespace ballast::agent
