// What several CSV documents have in their cells.
#pragma once

#include <string>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/workload.pb.h"
#include "google/protobuf/generated_enum_reflection.h"

namespace ballast::report {

// The name of the pattern of a pressure workload, or of the pressure beside a model; empty where there is none.
[[nodiscard]] std::string PressureMode(const v1::Workload& workload);

// `true` or `false`; empty where the device did not judge the run.
[[nodiscard]] std::string ValidCell(const v1::Run& run);

// The name of an enum value; the number where this build does not know it, and nothing where it is unspecified (0).
[[nodiscard]] std::string EnumCell(int number, const google::protobuf::EnumDescriptor& type);
template <typename Enum>
[[nodiscard]] std::string EnumCell(Enum value) {
  return EnumCell(static_cast<int>(value), *google::protobuf::GetEnumDescriptor<Enum>());
}

}  // namespace ballast::report
