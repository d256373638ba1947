#include "cli/pressure_flags.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/job_flags.h"
#include "cli/key_value.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_rules.h"
#include "common/config/field_text.h"

namespace ballast::cli {
namespace {

constexpr std::array<const char*, 4> kModes = {"staircase", "burst", "sawtooth", "allocate_full"};
constexpr char kPressurePath[] = "workload.pressure.";
constexpr char kContentFlag[] = "--content";

struct ModeField {
  std::string_view mode;
  const char* path;  // below `workload.pressure.`
};

// One flag: the field it sets in each mode that has it. An empty mode stands for all of them.
struct PatternFlag {
  const char* name;
  const char* type;
  const char* help;
  const char* example;
  std::vector<ModeField> fields;
};

const std::vector<PatternFlag>& Flags() {
  static const std::vector<PatternFlag> flags = {
      {"--step-size",
       "SIZE",
       "staircase: what each step adds (default 100 MiB)",
       "100MiB",
       {{"staircase", "staircase.step_size_bytes"}}},
      {"--interval",
       "TIME",
       "staircase: time from step to step (default 1s)",
       "1s",
       {{"staircase", "staircase.interval"}}},
      {"--steps", "N", "staircase: greatest number of steps (default 20)", "20", {{"staircase", "staircase.steps"}}},
      {"--target",
       "PERCENT",
       "burst: memory in use to reach and hold (default 70%)",
       "70%",
       {{"burst", "burst.target_percent"}}},
      {"--duration",
       "TIME",
       "burst, allocate_full: how long to hold (default 5s, 1s); sawtooth: one cycle (default 10s)",
       "5s",
       {{"burst", "burst.duration"}, {"sawtooth", "sawtooth.cycle_duration"}, {"allocate_full", "allocate_full.hold"}}},
      {"--min",
       "PERCENT",
       "sawtooth: lowest memory in use (default 30%)",
       "30%",
       {{"sawtooth", "sawtooth.min_percent"}}},
      {"--max",
       "PERCENT",
       "sawtooth: highest memory in use (default 70%)",
       "70%",
       {{"sawtooth", "sawtooth.max_percent"}}},
      {"--cycles", "N", "sawtooth: number of cycles (default 3)", "3", {{"sawtooth", "sawtooth.cycles"}}},
      {"--until",
       "END",
       "allocate_full: floor, or oom for all the way (default floor)",
       "floor",
       {{"allocate_full", "allocate_full.until"}}},
      {"--hold",
       "TIME",
       "burst, allocate_full: another name of --duration",
       "5s",
       {{"burst", "burst.duration"}, {"allocate_full", "allocate_full.hold"}}},
      {"--floor",
       "PERCENT",
       "Available memory that no allocation goes below (default 5%)",
       "5%",
       {{"", "floor_percent"}}},
      {kContentFlag,
       "CONTENT",
       "What pages hold: random, zero or compressible:RATIO (default random)",
       "compressible:2",
       {{"", "content"}}},
      {"--baseline", "TIME", "How long to observe before the load (default 1s)", "1s", {{"", "baseline"}}},
      {"--recovery", "TIME", "How long to observe after the load (default 1s)", "1s", {{"", "recovery"}}},
  };
  return flags;
}

// The field that a flag sets in a mode; null where the mode does not have the flag.
const char* PathIn(const PatternFlag& flag, std::string_view mode) {
  const auto found = std::find_if(flag.fields.begin(), flag.fields.end(),
                                  [mode](const ModeField& field) { return field.mode.empty() || field.mode == mode; });
  return found == flag.fields.end() ? nullptr : found->path;
}

std::string ModesOf(const PatternFlag& flag) {
  std::vector<std::string_view> modes;
  for (const ModeField& field : flag.fields) modes.push_back(field.mode);
  return fmt::format("{}", fmt::join(modes, ", "));
}

// A rule's sentence with the names of other fields replaced by those of their flags. Only names that are no plain
// words.
std::string NameFlags(std::string problem, std::string_view mode) {
  for (const PatternFlag& flag : Flags()) {
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

absl::Status SetContent(const std::string& text, v1::JobSpec* spec) {
  const std::size_t colon = text.find(':');
  const auto wrong = [](const std::string& problem) {
    return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: {}", kContentFlag, problem)),
                        "--content random, --content zero or --content compressible:2");
  };
  BALLAST_ASSIGN_OR_RETURN(const int kind,
                           ParseEnumName(kContentFlag, text.substr(0, colon), *v1::PageContent::Kind_descriptor()));
  auto* content = spec->mutable_workload()->mutable_pressure()->mutable_content();
  content->set_kind(static_cast<v1::PageContent::Kind>(kind));
  if (colon == std::string::npos) return absl::OkStatus();
  if (kind != v1::PageContent::COMPRESSIBLE)
    return wrong(fmt::format("{}: only compressible has a ratio", base::Quoted(text)));
  const absl::Status ratio = config::SetField(content, "compression_ratio", text.substr(colon + 1));
  return ratio.ok() ? ratio : wrong(std::string(ratio.message()));
}

}  // namespace

void AddPressureFlags(CLI::App* command, PressureFlags* flags) {
  command->add_option("--mode", flags->mode, fmt::format("Pattern of pressure: {}", fmt::join(kModes, ", ")))
      ->type_name("MODE")
      ->group("Pressure");
  for (const PatternFlag& flag : Flags()) {
    const std::string name = flag.name;
    command
        ->add_option_function<std::string>(
            name, [flags, name](const std::string& text) { flags->values[name] = text; }, flag.help)
        ->type_name(flag.type)
        ->group("Pressure");
  }
}

absl::Status FillPressure(const PressureFlags& flags, v1::JobSpec* spec) {
  const std::vector<std::string> modes(kModes.begin(), kModes.end());
  if (flags.mode.empty()) {
    return WithNextStep(absl::InvalidArgumentError(fmt::format("--mode is missing: {}", fmt::join(modes, ", "))),
                        "--mode burst --target 70 --duration 5s");
  }
  v1::PressureWorkload* pressure = spec->mutable_workload()->mutable_pressure();
  if (flags.mode == "staircase") {
    pressure->mutable_staircase();
  } else if (flags.mode == "burst") {
    pressure->mutable_burst();
  } else if (flags.mode == "sawtooth") {
    pressure->mutable_sawtooth();
  } else if (flags.mode == "allocate_full") {
    pressure->mutable_allocate_full();
  } else {
    const std::string near = config::DidYouMean(flags.mode, modes);
    return WithNextStep(absl::InvalidArgumentError(fmt::format("--mode: {} is not a mode{}", base::Quoted(flags.mode),
                                                               near.empty() ? "" : "; " + near)),
                        fmt::format("--mode {}", fmt::join(modes, ", --mode ")));
  }
  std::map<std::string_view, const char*> set_by;  // field → flag
  for (const PatternFlag& flag : Flags()) {
    const auto value = flags.values.find(flag.name);
    if (value == flags.values.end()) continue;
    const char* path = PathIn(flag, flags.mode);
    if (path == nullptr) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format("{} does not belong to mode {}; it belongs to {}",
                                                                 flag.name, flags.mode, ModesOf(flag))),
                          fmt::format("leave {} out, or choose another --mode", flag.name));
    }
    if (const auto [other, added] = set_by.emplace(path, flag.name); !added) {
      return WithNextStep(absl::InvalidArgumentError(
                              fmt::format("{} and {} mean the same in mode {}", other->second, flag.name, flags.mode)),
                          "give one of them");
    }
    if (value->second.empty()) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: the value is empty", flag.name)),
                          fmt::format("{} {}", flag.name, flag.example));
    }
    if (flag.name == std::string_view(kContentFlag)) {
      BALLAST_RETURN_IF_ERROR(SetContent(value->second, spec));
    } else {
      BALLAST_RETURN_IF_ERROR(
          SetFromFlag(flag.name, kPressurePath + std::string(path), value->second, flag.example, spec));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPressureJob(const PressureFlags& flags, const v1::JobSpec& spec) {
  v1::JobSpec complete = spec;
  config::ApplyDefaults(&complete);
  // A rule speaks of fields; whoever wrote flags reads flags.
  const auto flag_of = [&](const std::string& field_path) -> std::string {
    for (const PatternFlag& flag : Flags()) {
      const char* path = PathIn(flag, flags.mode);
      if (path != nullptr && field_path == std::string(kPressurePath) + path) return flag.name;
    }
    return field_path;
  };
  std::string problems;
  for (const config::Violation& violation : config::FindViolations(complete)) {
    problems += fmt::format("{}{}: {}", problems.empty() ? "" : "\n", flag_of(violation.field_path),
                            NameFlags(violation.problem, flags.mode));
  }
  if (problems.empty()) return absl::OkStatus();
  return WithNextStep(absl::InvalidArgumentError(problems), "ballast simple --help");
}

}  // namespace ballast::cli
