#include "cli/model_limit_flags.h"

#include <fmt/format.h>

#include "cli/error_text.h"
#include "common/base/status.h"
#include "common/config/field_text.h"

namespace ballast::cli {
namespace {

absl::Status Set(const char* flag, const char* field, const std::string& text, const char* example,
                 v1::ModelLimits* limits) {
  if (text.empty()) return absl::OkStatus();
  const absl::Status status = config::SetField(limits, field, text);
  if (status.ok()) return status;
  return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: {}", flag, std::string(status.message()))),
                      fmt::format("{} {}", flag, example));
}

}  // namespace

void AddModelLimitFlags(CLI::App* command, ModelLimitFlags* flags) {
  const auto text = [command](const char* name, std::string* value, const char* type, const char* help) {
    command->add_option(name, *value, help)->type_name(type)->group("Limits");
  };
  text("--max-load", &flags->max_load, "TIME", "Longest time from the start of a load to the end of its first pass");
  text("--min-passes", &flags->min_passes, "N", "Fewest passes over the weights a second");
  text("--max-resident", &flags->max_resident, "SIZE", "Most resident memory");
  text("--devices", &flags->devices, "PERCENT", "On how many of the devices a level has to meet them (default 100%)");
}

absl::Status FillModelLimits(const ModelLimitFlags& flags, v1::ModelLimits* limits) {
  BALLAST_RETURN_IF_ERROR(Set("--max-load", "max_load", flags.max_load, "30s", limits));
  BALLAST_RETURN_IF_ERROR(Set("--min-passes", "min_passes_per_second", flags.min_passes, "2", limits));
  BALLAST_RETURN_IF_ERROR(Set("--max-resident", "max_resident_bytes", flags.max_resident, "1.5GiB", limits));
  return Set("--devices", "min_devices_percent", flags.devices, "80%", limits);
}

}  // namespace ballast::cli
