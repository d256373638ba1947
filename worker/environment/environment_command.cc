#include "worker/environment/environment_command.h"

#include <csignal>
#include <cstdio>
#include <string_view>

#include <fmt/format.h>

#include "ballast/v1/environment.pb.h"
#include "common/base/logging.h"
#include "common/base/units.h"
#include "common/config/yaml.h"
#include "worker/environment/run_in_environment.h"

namespace ballast::environment {
namespace {

constexpr int kUsage = 2;
constexpr int kRefused = 6;
constexpr int kCannotExecute = 126;
constexpr int kNotFound = 127;
constexpr int kSignal = 128;

void Complain(std::string_view cause, std::string_view place, std::string_view next_step) {
  fmt::print(stderr, "error: {}\n", cause);
  if (!place.empty()) fmt::print(stderr, "  at {}\n", place);
  fmt::print(stderr, "  try: {}\n", next_step);
}

std::string Limits(const v1::AppliedEnvironment& environment) {
  const std::string memory = base::FormatBytes(environment.memory_bytes());
  return environment.swap_bytes() == 0
             ? fmt::format("{} of memory and no swap", memory)
             : fmt::format("{} of memory and {} of swap", memory, base::FormatBytes(environment.swap_bytes()));
}

// Says what the kernel killed, if it did.
void TellOomKills(const CommandEnd& end, const std::string& command) {
  const std::uint64_t kills = end.oom.kills.value_or(0);
  if (kills == 0) return;
  const v1::AppliedEnvironment& environment = end.environment;
  // Whatever was killed: the command itself, or a process of its.
  const std::string victim = end.exit.signal == SIGKILL
                                 ? fmt::format("{} was OOM-killed", command)
                                 : fmt::format("{} process{} of {} {} OOM-killed", kills, kills == 1 ? "" : "es",
                                               command, kills == 1 ? "was" : "were");
  const std::string reading = environment.readings().empty() ? environment.cgroup() : environment.readings(0);
  if (end.oom_killed_at_limit()) {
    Complain(fmt::format("{} at the limit of the environment '{}': {}", victim, environment.profile_name(),
                         Limits(environment)),
             reading, "a larger environment, or less memory in the command");
  } else if (end.oom.limit_hits > 0) {
    Complain(fmt::format("{} at the limit of a cgroup above the environment '{}'", victim, environment.profile_name()),
             end.oom.limit_cgroup, "raise that limit, or end what else uses it");
  } else {
    Complain(fmt::format("{} because the machine was out of memory, not by the environment '{}'", victim,
                         environment.profile_name()),
             "", "end what else uses the machine's memory");
  }
}

}  // namespace

int EnvironmentCommandMain(const std::string& file, const std::vector<std::string>& argv) {
  (void)base::InitLogging("ballast-worker", "warn");
  v1::EnvironmentProfile profile;
  if (const absl::Status read = config::ReadYamlFile(file, &profile); !read.ok()) {
    Complain(std::string(read.message()), "",
             "a file with one EnvironmentProfile, as `ballast env show NAME` prints it");
    return kUsage;
  }
  const CommandEnd end = RunInEnvironment(profile, argv);
  if (end.refusal) {
    Complain(end.refusal->cause, end.refusal->place, end.refusal->next_step);
    return kRefused;
  }
  if (!end.start.ok()) {
    const bool found = !absl::IsNotFound(end.start);
    Complain(std::string(end.start.message()), "",
             found ? "give a program that this user may execute" : "check the command's name, or give its path");
    return found ? kCannotExecute : kNotFound;
  }
  for (const std::string& remark : end.environment.remarks()) fmt::print(stderr, "note: {}\n", remark);
  TellOomKills(end, argv.front());
  return end.exit.signal != 0 ? kSignal + end.exit.signal : end.exit.exit_code;
}

}  // namespace ballast::environment
