#include "common/jobs/workload_parts.h"

namespace ballast::jobs {

const v1::ModelLoad* LoadOf(const v1::Workload& workload) {
  switch (workload.kind_case()) {
    case v1::Workload::kModel:
      return &workload.model().load();
    case v1::Workload::kQuantization:
      return &workload.quantization().load();
    case v1::Workload::kStability:
      return workload.stability().has_load() ? &workload.stability().load() : nullptr;
    case v1::Workload::kCapacity:
      return workload.capacity().has_load() ? &workload.capacity().load() : nullptr;
    case v1::Workload::kPressure:
    case v1::Workload::kCommand:
    case v1::Workload::KIND_NOT_SET:
      return nullptr;
  }
  return nullptr;
}

v1::ModelLoad* MutableLoadOf(v1::Workload* workload) {
  return const_cast<v1::ModelLoad*>(LoadOf(*workload));  // it is within what the caller may change
}

const v1::PressureWorkload* PressureOf(const v1::Workload& workload) {
  switch (workload.kind_case()) {
    case v1::Workload::kPressure:
      return &workload.pressure();
    case v1::Workload::kModel:
      return workload.model().has_pressure() ? &workload.model().pressure() : nullptr;
    case v1::Workload::kQuantization:
      return workload.quantization().has_pressure() ? &workload.quantization().pressure() : nullptr;
    case v1::Workload::kStability:
      return workload.stability().has_pressure() ? &workload.stability().pressure() : nullptr;
    case v1::Workload::kCommand:
      return workload.command().has_pressure() ? &workload.command().pressure() : nullptr;
    case v1::Workload::kCapacity:
    case v1::Workload::KIND_NOT_SET:
      return nullptr;
  }
  return nullptr;
}

}  // namespace ballast::jobs
