// The table of flags that describe memory pressure: what they are called, and which field each sets in which mode.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "ballast/v1/job.pb.h"

namespace ballast::cli {

// One flag. The pointers are to constants.
struct PressureFlag {
  struct Field {
    std::string_view mode;  // empty: every mode
    const char* path;       // below `workload.pressure.`; of a oneof its name
  };
  // As cli/pressure_values.h says.
  using Setter = absl::Status (*)(const std::string& flag, const std::string& mode, const std::string& text,
                                  v1::JobSpec* spec);

  const char* name;
  const char* type;  // what stands for the value in the help; null for a switch without a value
  const char* help;
  const char* example;
  std::vector<Field> fields;
  Setter set = nullptr;  // for values with a form of their own; otherwise the value goes into the field
};

// All of them but those of a trace's curve (cli/trace_flags.h), in the order of the help.
[[nodiscard]] const std::vector<PressureFlag>& PressureFlagTable();

// The field that a flag sets in a mode; null where the mode does not have the flag.
[[nodiscard]] const char* PathIn(const PressureFlag& flag, std::string_view mode);

// The modes that have a flag: `burst, allocate_full`.
[[nodiscard]] std::string ModesOf(const PressureFlag& flag);

}  // namespace ballast::cli
