#include "cli/device_flags.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "ballast/v1/device.pb.h"
#include "cli/error_text.h"
#include "cli/key_value.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_text.h"

namespace ballast::cli {
namespace {

// The value of LABEL=VALUE; nothing where the text is part of an expression: what a fact is called needs one.
std::optional<std::string_view> LabelValue(const std::string& part) {
  const std::size_t equals = part.find('=');
  if (equals == std::string::npos || equals == 0) return std::nullopt;
  const std::string name = part.substr(0, equals);
  if (name.find_first_of("!<>()|\" ") != std::string::npos) return std::nullopt;
  if (v1::DeviceFacts::descriptor()->FindFieldByName(name) != nullptr) return std::nullopt;
  return std::string_view(part).substr(equals + 1);
}

// Whether a text of --on is a list of labels with their values, and not an expression.
bool IsLabelList(const std::string& text) {
  return std::ranges::all_of(SplitList(text), [](const std::string& part) {
    const std::optional<std::string_view> value = LabelValue(part);
    return value && value->find_first_of("!<>=()|\"") == std::string_view::npos;
  });
}

// Whether no more stands there than labels with their values. What a device is labelled with may hold the signs of an
// expression, and where there are no expressions they have no other meaning.
bool IsLabelListAlone(const std::string& text) {
  return std::ranges::all_of(SplitList(text), [](const std::string& part) {
    const std::optional<std::string_view> value = LabelValue(part);
    return value && !value->starts_with('=') && value->find("||") == std::string_view::npos;
  });
}

// That a text of --on says something, to its end. Here, because what was left out would be looked for in vain where
// several texts are put together.
absl::Status CheckComplete(const std::string& text) {
  constexpr char kNextStep[] = "--on rack=a, or an expression such as --on 'rack, !broken, cpu_count >= 4'";
  const std::size_t last = text.find_last_not_of(" \t");
  if (last == std::string::npos) {
    return WithNextStep(absl::InvalidArgumentError("--on: the value is empty"), kNextStep);
  }
  if (text[last] != ',') return absl::OkStatus();
  return WithNextStep(
      absl::InvalidArgumentError(fmt::format("--on: at {} of {}: expected a condition behind the comma, not the end",
                                             last + 2, base::Quoted(text))),
      kNextStep);
}

}  // namespace

void AddDeviceFlags(CLI::App* command, DeviceFlags* flags) {
  command
      ->add_option("--on", flags->on,
                   "Devices with these labels, or that satisfy this expression over labels and facts")
      ->type_name("LABEL=VALUE|EXPR")
      ->group("Where")
      ->allow_extra_args(false);
  command->add_option("--device", flags->devices, "This device; may be repeated")
      ->type_name("ID")
      ->group("Where")
      ->allow_extra_args(false);
  command->add_flag("--all", flags->all, "Every device")->group("Where");
  command->add_option("--count", flags->count, "So many of them, whichever are free first")
      ->type_name("N")
      ->group("Where");
}

bool ChoosesDevices(const v1::DeviceSelector& selector) {
  return selector.ByteSizeLong() > 0;
}

absl::Status FillDevices(const DeviceFlags& flags, v1::DeviceSelector* selector) {
  std::vector<std::string> lists;
  for (const std::string& text : flags.on) {
    BALLAST_RETURN_IF_ERROR(CheckComplete(text));
    if (IsLabelList(text)) {
      lists.push_back(text);
      continue;
    }
    // Several must all be satisfied; one with alternatives cannot be joined to others.
    if (!selector->expression().empty() &&
        (text.find("||") != std::string::npos || selector->expression().find("||") != std::string::npos)) {
      return WithNextStep(absl::InvalidArgumentError("--on: an expression with || stands alone"),
                          "write all of it in one --on");
    }
    if (!selector->expression().empty()) selector->mutable_expression()->append(", ");
    selector->mutable_expression()->append(text);
  }
  BALLAST_ASSIGN_OR_RETURN(const auto labels, ParsePairs("--on", lists));
  for (const auto& [label, value] : labels) (*selector->mutable_labels())[label] = value;
  for (const std::string& device : flags.devices) {
    const absl::Status status = config::SetField(selector, "device_ids", device);
    if (!status.ok()) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format("--device: {}", std::string(status.message()))),
                          "--device ID; ballast devices list shows them");
    }
  }
  if (flags.all) selector->set_all(true);
  if (!flags.count.empty()) {
    const absl::Status status = config::SetField(selector, "count", flags.count);
    if (!status.ok() || selector->count() == 0) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format(
                              "--count: {}", status.ok() ? "must be at least 1" : std::string(status.message()))),
                          "--count 2");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, std::string>> ParseLabels(const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    if (IsLabelListAlone(text)) continue;
    return WithNextStep(
        absl::InvalidArgumentError(fmt::format("--on: {} is an expression, and a list of what there is takes "
                                               "LABEL=VALUE only",
                                               base::Quoted(text))),
        "--on class=mini-pc,site=lab; expressions choose devices for jobs and reservations");
  }
  return ParsePairs("--on", texts);
}

}  // namespace ballast::cli
