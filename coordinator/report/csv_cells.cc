#include "coordinator/report/csv_cells.h"

#include <fmt/format.h>

#include "common/jobs/workload_parts.h"
#include "coordinator/report/figures.h"
#include "coordinator/report/loads.h"
#include "google/protobuf/descriptor.h"

namespace ballast::report {

std::string PressureMode(const v1::Workload& workload) {
  const v1::PressureWorkload* pressure = jobs::PressureOf(workload);
  if (pressure == nullptr) return {};
  const google::protobuf::OneofDescriptor* pattern = v1::PressureWorkload::descriptor()->FindOneofByName("pattern");
  const google::protobuf::FieldDescriptor* field =
      pressure->GetReflection()->GetOneofFieldDescriptor(*pressure, pattern);
  return field == nullptr ? std::string() : field->name();
}

std::string ValidCell(const v1::Run& run) {
  const v1::Attempt* attempt = LastAttempt(run);
  if (attempt == nullptr || !attempt->result().has_validity()) return {};
  return attempt->result().validity().valid() ? "true" : "false";
}

std::string EnumCell(int number, const google::protobuf::EnumDescriptor& type) {
  if (number == 0) return {};
  const google::protobuf::EnumValueDescriptor* name = type.FindValueByNumber(number);
  return name == nullptr ? fmt::format("{}", number) : name->name();
}

}  // namespace ballast::report
