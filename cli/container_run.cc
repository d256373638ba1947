#include "cli/container_run.h"

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/render/environment_fields.h"
#include "common/base/status.h"
#include "common/containers/engine.h"

namespace ballast::cli {
namespace {

void TellEnd(const v1::EnvironmentProfile& profile, const containers::ContainerEnd& end, Context& context) {
  const std::string limit = fmt::format("{} ({})", profile.name(), MemoryText(profile));
  if (!end.start.ok()) {
    context.err << FormatError(end.start);
  } else if (end.oom_killed()) {
    context.err << fmt::format("error: out of memory: the kernel ended the command at the limit of {}\n", limit);
  } else if (end.exit_code == containers::ContainerEnd::kKilledCode) {
    context.err << fmt::format(
        "error: the command was ended by SIGKILL; {}\n",
        end.oom_kills ? fmt::format("the kernel counts no OOM kill in {}, so somebody sent it", limit)
                      : fmt::format("in {} that is most often the memory limit, but the kernel's count of OOM kills "
                                    "could not be read",
                                    limit));
  } else if (const std::uint64_t kills = end.oom_kills.value_or(0); kills > 0) {
    context.err << fmt::format("note: the kernel ended {} process{} of the command at the limit of {}\n", kills,
                               kills == 1 ? "" : "es", limit);
  }
}

}  // namespace

absl::StatusOr<ExitCode> RunInContainer(const v1::EnvironmentProfile& profile,
                                        const containers::ContainerCommand& command, profiles::Engine engine,
                                        bool verbose, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(
      const containers::ContainerEngine found,
      containers::ContainerEngine::Find(engine, context.variable("PATH").value_or(""), &context.interrupts));
  absl::StatusOr<containers::ContainerEnd> end = containers::RunInContainer(profile, command, found);
  if (absl::IsInvalidArgument(end.status())) return WithNextStep(end.status(), "--io-device /dev/sda");
  BALLAST_RETURN_IF_ERROR(end.status());
  if (verbose) {
    for (const auto* lines : {&end->environment.remarks(), &end->environment.readings()}) {
      for (const std::string& line : *lines) context.err << fmt::format("note: {}\n", line);
    }
  }
  TellEnd(profile, *end, context);
  return static_cast<ExitCode>(end->exit_code);
}

}  // namespace ballast::cli
