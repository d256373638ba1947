#include "common/config/job_rules.h"

#include <string>

#include <fmt/format.h>

#include "common/config/environment_rules.h"

namespace ballast::config {
namespace {

// The pressure of a workload with its place; nothing where it has none.
struct Pressure {
  const v1::PressureWorkload* workload = nullptr;
  std::string path;
  const char* beside = nullptr;  // what is to happen in its hold, for people; null where nothing is
};

Pressure PressureOf(const v1::Workload& workload) {
  switch (workload.kind_case()) {
    case v1::Workload::kPressure:
      return {&workload.pressure(), "workload.pressure", nullptr};
    case v1::Workload::kModel:
      if (!workload.model().has_pressure()) return {};
      return {&workload.model().pressure(), "workload.model.pressure", "a model could be loaded"};
    case v1::Workload::kQuantization:
      if (!workload.quantization().has_pressure()) return {};
      return {&workload.quantization().pressure(), "workload.quantization.pressure", "a model could be loaded"};
    case v1::Workload::kStability:
      if (!workload.stability().has_pressure()) return {};
      return {&workload.stability().pressure(), "workload.stability.pressure",
              workload.stability().has_load() ? "a model could be loaded" : nullptr};
    case v1::Workload::kCommand:
      if (!workload.command().has_pressure()) return {};
      return {&workload.command().pressure(), "workload.command.pressure", "the program could run"};
    default:
      return {};
  }
}

// The load of the one level of a model that a workload is about; null where it has none, or many.
const v1::ModelLoad* SingleLoad(const v1::Workload& workload) {
  if (workload.has_model()) return &workload.model().load();
  if (workload.has_stability() && workload.stability().has_load()) return &workload.stability().load();
  if (workload.has_capacity() && workload.capacity().has_load() &&
      workload.capacity().dimension() != v1::CapacityWorkload::QUANT_LEVEL) {
    return &workload.capacity().load();
  }
  return nullptr;
}

void CheckMatrix(const v1::JobSpec& spec, std::vector<Violation>* found) {
  const v1::JobMatrix& matrix = spec.matrix();
  if (!matrix.environments().empty() && (!spec.environment().empty() || spec.has_environment_profile())) {
    found->push_back({"matrix.environments", "they stand instead of `environment`; leave one of them out"});
  }
  if (matrix.quants().empty()) return;
  const v1::ModelLoad* load = SingleLoad(spec.workload());
  if (load == nullptr) {
    found->push_back({"matrix.quants",
                      "the workload does not load one level of a model; `quantization` has `quant_levels` of its own"});
  } else if (!load->quant().empty()) {
    found->push_back({"matrix.quants", "they stand instead of the load's `quant`; leave one of them out"});
  }
}

}  // namespace

std::vector<Violation> FindContradictions(const v1::JobSpec& spec) {
  std::vector<Violation> found;
  if (spec.has_environment_profile()) found = FindContradictions(spec.environment_profile(), "environment_profile");
  CheckMatrix(spec, &found);
  const Pressure pressure = PressureOf(spec.workload());
  if (pressure.workload == nullptr) return found;
  const v1::PressureWorkload& workload = *pressure.workload;
  const bool until_oom = workload.allocate_full().until() == v1::AllocateFullPattern::OOM;
  if (until_oom && workload.memory_kind() == v1::FILE_CACHE && !workload.lock()) {
    found.push_back(
        {pressure.path + ".allocate_full.until",
         "file cache does not end in an OOM kill, the kernel drops it: it would only fill the disk; lock it, "
         "hold another kind of memory, or end at the floor"});
  }
  if (until_oom && pressure.beside != nullptr) {
    found.push_back({pressure.path + ".allocate_full.until",
                     fmt::format("it has no hold in which {}; end at the floor", pressure.beside)});
  }
  const double guard = spec.guard().min_available_percent();
  if (spec.guard().mode() != v1::GuardSpec::OFF && !until_oom && guard > 0 && guard >= workload.floor_percent()) {
    found.push_back(
        {"guard.min_available_percent",
         fmt::format("{:g} % is not below the load's own floor of {:g} %: the guard would end what the load may "
                     "do; lower it, or raise the floor",
                     guard, workload.floor_percent())});
  }
  return found;
}

absl::Status Validate(const v1::JobSpec& spec) {
  const auto& message = static_cast<const google::protobuf::Message&>(spec);
  if (absl::Status status = Validate(message); !status.ok()) return status;
  std::string problems;
  for (const Violation& violation : FindContradictions(spec)) {
    if (!problems.empty()) problems += '\n';
    problems += fmt::format("{}: {}", violation.field_path, violation.problem);
  }
  return problems.empty() ? absl::OkStatus() : absl::InvalidArgumentError(problems);
}

}  // namespace ballast::config
