#include "common/config/config_flags.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "CLI/CLI.hpp"
#include "common/base/next_step.h"
#include "common/base/status.h"
#include "common/config/field_rules.h"
#include "common/config/field_text.h"
#include "common/config/yaml.h"

namespace ballast::config {
namespace {

bool IsMap(const google::protobuf::Message& config, const std::string& field) {
  const google::protobuf::FieldDescriptor* descriptor = config.GetDescriptor()->FindFieldByName(field);
  return descriptor != nullptr && descriptor->is_map();
}

// `k=v,k=v` as entries of the map `field`.
absl::Status SetEntries(google::protobuf::Message* config, std::string_view field, std::string_view rest) {
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return absl::InvalidArgumentError(fmt::format("'{}' is not KEY=VALUE", pair));
    }
    BALLAST_RETURN_IF_ERROR(
        SetField(config, fmt::format("{}.{}", field, pair.substr(0, equals)), pair.substr(equals + 1)));
  }
  return absl::OkStatus();
}

// What the flags alone break of `more_rules`, named by the flag.
absl::Status CheckMoreRules(const google::protobuf::Message& config, const MoreRules& more_rules,
                            std::span<const ConfigFlag> flags) {
  const std::unique_ptr<google::protobuf::Message> filled(config.New());
  filled->CopyFrom(config);
  ApplyDefaults(filled.get());
  for (const Violation& violation : more_rules(*filled)) {
    const auto flag = std::ranges::find(flags, violation.field_path.substr(0, violation.field_path.find_first_of(".[")),
                                        [](const ConfigFlag& each) { return std::string(each.field); });
    return absl::InvalidArgumentError(
        fmt::format("{}: {}", flag == flags.end() ? violation.field_path : std::string(flag->flag), violation.problem));
  }
  return absl::OkStatus();
}

}  // namespace

void ConfigFlags::AddTo(CLI::App* app) {
  app->add_option("--config", file_, "Configuration file (YAML); flags win over it")->option_text("FILE");
  for (std::size_t i = 0; i < flags_.size(); ++i) {
    std::optional<std::string>& given = given_[i];
    if (flags_[i].value_name == nullptr) {
      app->add_flag_callback(
          flags_[i].flag, [&given] { given = "true"; }, flags_[i].help);
    } else {
      app->add_option(flags_[i].flag, given, flags_[i].help)->option_text(flags_[i].value_name);
    }
  }
}

absl::StatusOr<std::string> ConfigFlags::Parse(CLI::App* app, std::vector<std::string> arguments) {
  std::ranges::reverse(arguments);  // as CLI11 wants them
  try {
    app->parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    return app->help();
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  return std::string();
}

absl::Status ConfigFlags::Apply(google::protobuf::Message* config) const {
  for (std::size_t i = 0; i < flags_.size(); ++i) {
    if (!given_[i]) continue;
    const ConfigFlag& flag = flags_[i];
    const absl::Status status = IsMap(*config, flag.field) ? SetEntries(config, flag.field, *given_[i])
                                                           : SetField(config, flag.field, *given_[i]);
    if (!status.ok()) {
      return absl::InvalidArgumentError(fmt::format("{} {}: {}", flag.flag, *given_[i], std::string(status.message())));
    }
  }
  return absl::OkStatus();
}

absl::Status ConfigFlags::Read(google::protobuf::Message* config, const MoreRules& more_rules) const {
  BALLAST_RETURN_IF_ERROR(Apply(config));
  // Before the file is read, which would be blamed for them.
  if (more_rules) BALLAST_RETURN_IF_ERROR(CheckMoreRules(*config, more_rules, flags_));
  if (!file_.empty()) {
    // Over the flags, so that a flag gives what the file leaves out; then the flags again, because they win.
    if (const absl::Status read = ReadYamlFile(file_, more_rules, config); !read.ok()) {
      return base::WithNextStep(read, absl::IsInvalidArgument(read) ? fmt::format("mend {}", file_)
                                                                    : "give --config a file that can be read");
    }
    BALLAST_RETURN_IF_ERROR(Apply(config));
  }
  ApplyDefaults(config);
  const absl::Status valid = Validate(*config);
  if (valid.ok()) return valid;
  // What is wrong with a flag's value was said above, so this is a field that nobody gave, or two that do not agree.
  for (const Violation& violation : FindViolations(*config)) {
    for (const ConfigFlag& flag : flags_) {
      const google::protobuf::FieldDescriptor* field = config->GetDescriptor()->FindFieldByName(flag.field);
      if (violation.field_path != flag.field || field == nullptr || field->has_presence() || field->is_repeated() ||
          config->GetReflection()->HasField(*config, field)) {
        continue;
      }
      return absl::InvalidArgumentError(
          fmt::format("{} {} is missing, or {} in the configuration file", flag.flag, flag.value_name, flag.field));
    }
  }
  return valid;
}

}  // namespace ballast::config
