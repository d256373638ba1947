// The command line of a program that is configured by one message: flags over fields, beside a configuration file.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/config/yaml.h"
#include "google/protobuf/message.h"

namespace CLI {
class App;
}

namespace ballast::config {

// A flag that sets one field of the configuration.
struct ConfigFlag {
  const char* flag;        // `--data-dir`
  const char* field;       // `data_dir`; a map takes `K=V,K=V`
  const char* value_name;  // `DIR`; null for a switch over a bool field
  const char* help;
};

// Reads flags and the file that `--config` names into a message. Not thread-safe. `flags` must outlive it.
class ConfigFlags {
 public:
  explicit ConfigFlags(std::span<const ConfigFlag> flags) : flags_(flags), given_(flags.size()) {}

  // Adds `--config` and every flag. This object must stay where it is until Parse has returned.
  void AddTo(CLI::App* app);

  // Parses the arguments, without the program's name. The text to print where help was asked for, otherwise empty.
  // INVALID_ARGUMENT.
  [[nodiscard]] static absl::StatusOr<std::string> Parse(CLI::App* app, std::vector<std::string> arguments);

  // Fills in `config`: the file, the flags, which win over it, and the defaults; then checks every rule.
  // INVALID_ARGUMENT names the flag, or the place in the file as ReadYamlFile does; codes of ReadYamlFile.
  // `more_rules` are those that are not written beside the fields; flags are held to them by themselves first. Of a
  // mistake in the file the next step (base::NextStepOf) is to mend that.
  [[nodiscard]] absl::Status Read(google::protobuf::Message* config, const MoreRules& more_rules = {}) const;

 private:
  [[nodiscard]] absl::Status Apply(google::protobuf::Message* config) const;

  std::span<const ConfigFlag> flags_;
  std::string file_;
  std::vector<std::optional<std::string>> given_;  // one for each flag
};

}  // namespace ballast::config
