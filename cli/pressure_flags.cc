#include "cli/pressure_flags.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/job_flags.h"
#include "cli/pressure_flag_table.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_rules.h"
#include "common/config/field_text.h"
#include "common/config/job_rules.h"

namespace ballast::cli {
namespace {

constexpr char kPressurePath[] = "workload.pressure.";
constexpr char kGuardFloorPath[] = "guard.min_available_percent";

// The values of --mode: the names of the patterns.
std::vector<std::string> Modes() {
  std::vector<std::string> modes;
  const google::protobuf::OneofDescriptor& pattern = *v1::PressureWorkload::descriptor()->FindOneofByName("pattern");
  for (int i = 0; i < pattern.field_count(); ++i) modes.push_back(pattern.field(i)->name());
  return modes;
}

// Chooses the pattern that the mode is the name of.
absl::Status SetMode(const std::string& mode, v1::PressureWorkload* pressure) {
  const std::vector<std::string> modes = Modes();
  if (mode.empty()) {
    return WithNextStep(absl::InvalidArgumentError(fmt::format("--mode is missing: {}", fmt::join(modes, ", "))),
                        "--mode burst --target 70 --duration 5s");
  }
  if (std::ranges::find(modes, mode) == modes.end()) {
    const std::string near = config::DidYouMean(mode, modes);
    return WithNextStep(absl::InvalidArgumentError(fmt::format("--mode: {} is not a mode{}", base::Quoted(mode),
                                                               near.empty() ? "" : "; " + near)),
                        fmt::format("--mode {}", fmt::join(modes, ", --mode ")));
  }
  (void)pressure->GetReflection()->MutableMessage(pressure, pressure->GetDescriptor()->FindFieldByName(mode));
  return absl::OkStatus();
}

// A rule's sentence with the names of other fields replaced by those of their flags. Only names that are no plain
// words.
std::string NameFlags(std::string problem, std::string_view mode) {
  for (const PressureFlag& flag : PressureFlagTable()) {
    const char* path = PathIn(flag, mode);
    if (path == nullptr) continue;
    const std::string_view whole = path;
    const std::string_view field = whole.substr(whole.rfind('.') + 1);
    if (field.find('_') == std::string_view::npos) continue;
    const std::size_t at = problem.find(field);
    if (at != std::string::npos) problem.replace(at, field.size(), flag.name);
  }
  return problem;
}

}  // namespace

void AddPressureFlags(CLI::App* command, PressureFlags* flags, const std::vector<std::string>& without) {
  command->add_option("--mode", flags->mode, fmt::format("Pattern of pressure: {}", fmt::join(Modes(), ", ")))
      ->type_name("MODE")
      ->group("Pressure");
  for (const PressureFlag& flag : PressureFlagTable()) {
    const std::string name = flag.name;
    if (std::ranges::find(without, name) != without.end()) continue;
    if (flag.type == nullptr) {
      command
          ->add_flag_callback(
              name, [flags, name] { flags->values[name] = "true"; }, flag.help)
          ->group("Pressure");
      continue;
    }
    command
        ->add_option_function<std::string>(
            name, [flags, name](const std::string& text) { flags->values[name] = text; }, flag.help)
        ->type_name(flag.type)
        ->group("Pressure");
  }
}

absl::Status FillPressure(const PressureFlags& flags, v1::JobSpec* spec) {
  BALLAST_RETURN_IF_ERROR(SetMode(flags.mode, spec->mutable_workload()->mutable_pressure()));
  std::map<std::string_view, const char*> set_by;  // field → flag
  for (const PressureFlag& flag : PressureFlagTable()) {
    const auto value = flags.values.find(flag.name);
    if (value == flags.values.end()) continue;
    const char* path = PathIn(flag, flags.mode);
    if (path == nullptr) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format("{} does not belong to mode {}; it belongs to {}",
                                                                 flag.name, flags.mode, ModesOf(flag))),
                          fmt::format("leave {} out, or choose another --mode", flag.name));
    }
    if (const auto [other, added] = set_by.emplace(path, flag.name); !added) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format("{} and {} exclude each other in mode {}",
                                                                 other->second, flag.name, flags.mode)),
                          "give one of them");
    }
    if (value->second.empty()) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: the value is empty", flag.name)),
                          fmt::format("{} {}", flag.name, flag.example));
    }
    if (flag.set != nullptr) {
      BALLAST_RETURN_IF_ERROR(flag.set(flag.name, flags.mode, value->second, spec));
    } else {
      BALLAST_RETURN_IF_ERROR(
          SetFromFlag(flag.name, kPressurePath + std::string(path), value->second, flag.example, spec));
    }
  }
  if (flags.values.contains("--hot-interval") && !flags.values.contains("--hot")) {
    return WithNextStep(
        absl::InvalidArgumentError("--hot-interval says how often the hot set is touched, but there is none"),
        "--hot 25% --hot-interval 1s");
  }
  return absl::OkStatus();
}

absl::Status FillPressureBeside(const PressureFlags& flags, const std::string& beside,
                                v1::PressureWorkload* (*pressure)(v1::JobSpec*), v1::JobSpec* spec) {
  if (flags.mode.empty()) {
    for (const auto& [flag, value] : flags.values) {
      if (flag == "--until" && (value == "oom" || value == "OOM")) {
        spec->mutable_guard()->set_mode(v1::GuardSpec::OFF);
        continue;
      }
      return WithNextStep(absl::InvalidArgumentError(fmt::format(
                              "{} says how memory is held beside {}, but no --mode is given", flag, beside)),
                          "--mode burst --target 70%");
    }
    return absl::OkStatus();
  }
  v1::JobSpec alone;
  BALLAST_RETURN_IF_ERROR(FillPressure(flags, &alone));
  if (alone.guard().mode() != v1::GuardSpec::MODE_UNSPECIFIED) spec->mutable_guard()->set_mode(alone.guard().mode());
  *pressure(spec) = alone.workload().pressure();
  return absl::OkStatus();
}

absl::Status CheckPressureJob(const PressureFlags& flags, const v1::JobSpec& spec) {
  v1::JobSpec complete = spec;
  config::ApplyDefaults(&complete);
  // A rule speaks of fields; whoever wrote flags reads flags.
  const auto flag_of = [&](const std::string& field_path) -> std::string {
    if (field_path == kGuardFloorPath) return "--guard-floor";
    for (const PressureFlag& flag : PressureFlagTable()) {
      const char* path = PathIn(flag, flags.mode);
      if (path != nullptr && field_path == std::string(kPressurePath) + path) return flag.name;
    }
    return field_path;
  };
  std::vector<config::Violation> violations = config::FindViolations(complete);
  if (violations.empty()) violations = config::FindContradictions(complete);
  std::string problems;
  std::string next_step = "ballast simple --help";
  for (const config::Violation& violation : violations) {
    if (violation.field_path == kGuardFloorPath) next_step = "--guard-floor 2%, or a greater --floor";
    problems += fmt::format("{}{}: {}", problems.empty() ? "" : "\n", flag_of(violation.field_path),
                            NameFlags(violation.problem, flags.mode));
  }
  if (problems.empty()) return absl::OkStatus();
  return WithNextStep(absl::InvalidArgumentError(problems), next_step);
}

}  // namespace ballast::cli
