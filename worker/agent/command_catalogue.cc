#include "worker/agent/command_catalogue.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/pattern.h"
#include "worker/runner/system_user.h"

namespace ballast::agent {
namespace {

using Values = std::map<std::string, std::string, std::less<>>;

// The worker's own, where a command does not give them.
constexpr const char* kPassedVariables[] = {"PATH", "HOME", "LANG", "TMPDIR"};

std::optional<std::string> ProcessVariable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

// The template with the values in their places. INVALID_ARGUMENT where it makes no sense.
absl::StatusOr<std::string> Expand(std::string_view text, const Values& values) {
  std::string expanded;
  while (!text.empty()) {
    const std::size_t brace = text.find_first_of("{}");
    expanded += text.substr(0, brace);
    if (brace == std::string_view::npos) break;
    const bool twice = brace + 1 < text.size() && text[brace + 1] == text[brace];
    if (twice) {
      expanded += text[brace];
      text.remove_prefix(brace + 2);
      continue;
    }
    const std::size_t end = text.find('}', brace);
    if (text[brace] == '}' || end == std::string_view::npos) {
      return absl::InvalidArgumentError(
          fmt::format("a '{}' stands alone; write {{{{ and }}}} for a brace, {{NAME}} for a parameter", text[brace]));
    }
    const std::string_view name = text.substr(brace + 1, end - brace - 1);
    const auto value = values.find(name);
    if (value == values.end()) {
      return absl::InvalidArgumentError(
          fmt::format("{} is not a parameter of this command; write {{{{ and }}}} for a brace", base::Quoted(name)));
    }
    expanded += value->second;
    text.remove_prefix(end + 1);
  }
  return expanded;
}

class Checker {
 public:
  void Check(int index, const v1::CommandDefinition& command) {
    Values known;
    for (int i = 0; i < command.parameters_size(); ++i) {
      const v1::CommandParameter& parameter = command.parameters(i);
      known[parameter.name()] = "";
      const std::string place = fmt::format("commands[{}].parameters[{}]", index, i);
      if (const absl::Status pattern = config::CheckPattern(parameter.pattern()); !pattern.ok()) {
        Add(place + ".pattern", std::string(pattern.message()));
      } else if (parameter.has_default_value() &&
                 !config::MatchesPattern(parameter.pattern(), parameter.default_value())) {
        Add(place + ".default_value", fmt::format("{} does not match the pattern {}",
                                                  base::Quoted(parameter.default_value()), parameter.pattern()));
      }
    }
    for (int i = 0; i < command.arguments_size(); ++i) {
      const auto expanded = Expand(command.arguments(i), known);
      if (!expanded.ok()) {
        Add(fmt::format("commands[{}].arguments[{}]", index, i), std::string(expanded.status().message()));
      }
    }
    for (const auto& [name, value] : command.environment()) {
      if (name.empty() || name.find('=') != std::string::npos || (name + value).find('\0') != std::string::npos) {
        Add(fmt::format("commands[{}].environment", index),
            fmt::format("{} is no name of an environment variable, or its value holds a zero byte",
                        base::Quoted(name)));
      }
    }
  }

  [[nodiscard]] std::vector<config::Violation> Take() { return std::move(problems_); }

 private:
  void Add(const std::string& place, const std::string& problem) { problems_.push_back({place, problem}); }

  std::vector<config::Violation> problems_;
};

// Why the command could not be run now; empty where nothing is in the way.
std::string Obstacle(const v1::CommandDefinition& command) {
  struct stat info {};
  if (::stat(command.program().c_str(), &info) != 0) {
    return fmt::format("{}: {}", command.program(), std::generic_category().message(errno));
  }
  if (!S_ISREG(info.st_mode) || ::access(command.program().c_str(), X_OK) != 0) {
    return fmt::format("{} is not an executable file", command.program());
  }
  if (!command.working_directory().empty() &&
      (::stat(command.working_directory().c_str(), &info) != 0 || !S_ISDIR(info.st_mode))) {
    return fmt::format("its working directory {} is not there", command.working_directory());
  }
  if (command.user().empty()) return {};
  const std::optional<runner::SystemUser> user = runner::FindUser(command.user());
  if (!user) return fmt::format("there is no user '{}'", command.user());
  if (::geteuid() != 0 && user->uid != ::geteuid()) {
    return fmt::format("it runs as user '{}', which takes a worker that runs as root", command.user());
  }
  return {};
}

std::string Listed(std::vector<std::string> names) {
  std::ranges::sort(names);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::vector<config::Violation> CommandCatalogue::FindProblems(
    const google::protobuf::RepeatedPtrField<v1::CommandDefinition>& commands) {
  Checker checker;
  for (int i = 0; i < commands.size(); ++i) checker.Check(i, commands[i]);
  return checker.Take();
}

absl::StatusOr<CommandCatalogue> CommandCatalogue::Create(
    const google::protobuf::RepeatedPtrField<v1::CommandDefinition>& commands, std::string default_directory,
    Variable variable) {
  std::vector<std::string> problems;
  for (const config::Violation& problem : FindProblems(commands)) {
    problems.push_back(fmt::format("{}: {}", problem.field_path, problem.problem));
  }
  if (!problems.empty()) return absl::InvalidArgumentError(fmt::format("{}", fmt::join(problems, "\n")));
  CommandCatalogue catalogue;
  catalogue.commands_.assign(commands.begin(), commands.end());
  catalogue.default_directory_ = std::move(default_directory);
  catalogue.variable_ = variable ? std::move(variable) : ProcessVariable;
  return catalogue;
}

void CommandCatalogue::AddFacts(v1::DeviceFacts* facts) const {
  for (const v1::CommandDefinition& command : commands_) {
    facts->add_command_ids(command.command_id());
    if (const std::string obstacle = Obstacle(command); !obstacle.empty()) {
      facts->add_limitations(fmt::format("Command {} cannot be run: {}.", command.command_id(), obstacle));
    }
  }
}

const v1::CommandDefinition* CommandCatalogue::Find(const std::string& command_id) const {
  const auto found = std::ranges::find(commands_, command_id, &v1::CommandDefinition::command_id);
  return found == commands_.end() ? nullptr : &*found;
}

absl::StatusOr<v1::CommandTask> CommandCatalogue::Resolve(const v1::CommandWorkload& workload) const {
  const v1::CommandDefinition* const command = Find(workload.command_id());
  if (command == nullptr) {
    std::vector<std::string> known;
    for (const v1::CommandDefinition& other : commands_) known.push_back(other.command_id());
    return absl::NotFoundError(fmt::format("this worker's configuration names no command {}; {}",
                                           base::Quoted(workload.command_id()),
                                           known.empty() ? "it names none" : "it names " + Listed(std::move(known))));
  }
  Values values;
  for (const v1::CommandParameter& parameter : command->parameters()) {
    const auto given = workload.parameters().find(parameter.name());
    if (given == workload.parameters().end()) {
      if (!parameter.has_default_value()) {
        return absl::InvalidArgumentError(
            fmt::format("command {} needs a value for its parameter '{}', which must match the pattern {}",
                        command->command_id(), parameter.name(), parameter.pattern()));
      }
      values[parameter.name()] = parameter.default_value();
      continue;
    }
    const std::string& value = given->second;
    if (value.find('\0') != std::string::npos || !config::MatchesPattern(parameter.pattern(), value)) {
      return absl::InvalidArgumentError(fmt::format("parameter '{}' of command {} must match the pattern {}, not be {}",
                                                    parameter.name(), command->command_id(), parameter.pattern(),
                                                    base::Quoted(value)));
    }
    values[parameter.name()] = value;
  }
  for (const auto& [name, value] : workload.parameters()) {
    if (values.contains(name)) continue;
    std::vector<std::string> known;
    for (const auto& [parameter, text] : values) known.push_back(parameter);
    return absl::InvalidArgumentError(
        fmt::format("command {} has no parameter {}; {}", command->command_id(), base::Quoted(name),
                    known.empty() ? "it has none" : "it has " + Listed(std::move(known))));
  }
  v1::CommandTask task;
  task.add_argv(command->program());
  for (const std::string& argument : command->arguments()) {
    BALLAST_ASSIGN_OR_RETURN(*task.add_argv(), Expand(argument, values));
  }
  task.set_working_directory(command->working_directory().empty() ? default_directory_ : command->working_directory());
  task.set_user(command->user());
  FillEnvironment(*command, &task);
  return task;
}

void CommandCatalogue::FillEnvironment(const v1::CommandDefinition& command, v1::CommandTask* task) const {
  std::map<std::string, std::string> environment;
  for (const char* const name : kPassedVariables) {
    if (std::optional<std::string> value = variable_(name)) environment[name] = *std::move(value);
  }
  // Another user has a home of its own.
  if (const auto user = command.user().empty() ? std::nullopt : runner::FindUser(command.user())) {
    environment["HOME"] = user->home;
    environment["USER"] = environment["LOGNAME"] = user->name;
  }
  for (const auto& [name, value] : command.environment()) environment[name] = value;
  for (const auto& [name, value] : environment) task->add_environment(fmt::format("{}={}", name, value));
}

}  // namespace ballast::agent
