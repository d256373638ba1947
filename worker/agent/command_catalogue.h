// The programs that jobs may run on this device, as the worker's configuration names them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/config.pb.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/runner.pb.h"
#include "ballast/v1/workload.pb.h"
#include "common/config/field_rules.h"

namespace ballast::agent {

// Knows what each command is, and turns a job's wish into what is executed. Immutable; thread-safe.
class CommandCatalogue {
 public:
  // The value of one of this process's environment variables; nothing where it is not set.
  using Variable = std::function<std::optional<std::string>(const char*)>;

  // What is wrong with commands that keep the rules of their fields: parameters that are not there, braces that do not
  // match, patterns that are none, defaults that do not match their own. Paths begin with `commands[0]`.
  [[nodiscard]] static std::vector<config::Violation> FindProblems(
      const google::protobuf::RepeatedPtrField<v1::CommandDefinition>& commands);

  // No commands.
  CommandCatalogue() = default;
  // `commands` keep the rules of their fields. `default_directory` is where those run that name none. INVALID_ARGUMENT:
  // what FindProblems finds, a line each (`commands[0].arguments[1]: …`).
  [[nodiscard]] static absl::StatusOr<CommandCatalogue> Create(
      const google::protobuf::RepeatedPtrField<v1::CommandDefinition>& commands, std::string default_directory,
      Variable variable = {});

  [[nodiscard]] bool empty() const { return commands_.empty(); }

  // Adds the identifiers, and a limitation for each command that could not be run now.
  void AddFacts(v1::DeviceFacts* facts) const;

  // What a job's command is here. Nothing of it is interpreted any more: an argument is one argument, whatever is in
  // it. NOT_FOUND: there is no such command, the message has those there are; INVALID_ARGUMENT: a parameter that it
  // does not have, that is missing, or that does not match its pattern.
  [[nodiscard]] absl::StatusOr<v1::CommandTask> Resolve(const v1::CommandWorkload& workload) const;

 private:
  [[nodiscard]] const v1::CommandDefinition* Find(const std::string& command_id) const;
  void FillEnvironment(const v1::CommandDefinition& command, v1::CommandTask* task) const;

  std::vector<v1::CommandDefinition> commands_;
  std::string default_directory_;
  Variable variable_;
};

}  // namespace ballast::agent
