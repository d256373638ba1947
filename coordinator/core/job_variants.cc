#include "coordinator/core/job_variants.h"

#include <algorithm>

#include <fmt/format.h>

namespace ballast::core {
namespace {

v1::ModelLoad* LoadOf(v1::Workload* workload) {
  switch (workload->kind_case()) {
    case v1::Workload::kModel:
      return workload->mutable_model()->mutable_load();
    case v1::Workload::kStability:
      return workload->stability().has_load() ? workload->mutable_stability()->mutable_load() : nullptr;
    case v1::Workload::kCapacity:
      return workload->capacity().has_load() ? workload->mutable_capacity()->mutable_load() : nullptr;
    default:
      return nullptr;
  }
}

}  // namespace

std::vector<Variant> VariantsOf(const v1::JobSpec& spec) {
  const auto values = [](const auto& axis) {
    return axis.empty() ? std::vector<std::string>{""} : std::vector<std::string>(axis.begin(), axis.end());
  };
  std::vector<Variant> variants;
  for (const std::string& environment : values(spec.matrix().environments())) {
    for (const std::string& quant : values(spec.matrix().quants())) variants.push_back({environment, quant});
  }
  return variants;
}

const Variant& VariantAt(const std::vector<Variant>& variants, std::uint32_t repetition, std::size_t place) {
  return variants[(place + repetition - 1) % variants.size()];
}

absl::Status CheckMatrix(const v1::JobSpec& spec) {
  const v1::JobMatrix& matrix = spec.matrix();
  if (matrix.environments_size() == matrix.environment_profiles_size()) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("matrix: {} environments have {} profiles", matrix.environments_size(),
                                                matrix.environment_profiles_size()));
}

void FillVariant(const v1::Job& job, const v1::Run& run, v1::Assignment* assignment) {
  v1::JobSpec& spec = *assignment->mutable_spec();
  spec = job.spec();
  spec.clear_matrix();
  if (!run.matrix_environment().empty()) {
    const auto& names = job.spec().matrix().environments();
    const auto name = std::find(names.begin(), names.end(), run.matrix_environment());
    const v1::EnvironmentProfile& profile =
        job.spec().matrix().environment_profiles(static_cast<int>(name - names.begin()));
    spec.set_environment(profile.name());
    if (profile.name().empty()) {
      spec.clear_environment_profile();
    } else {
      *spec.mutable_environment_profile() = profile;
    }
  }
  if (v1::ModelLoad* load = run.matrix_quant().empty() ? nullptr : LoadOf(spec.mutable_workload())) {
    load->set_quant(run.matrix_quant());
    for (const v1::ResolvedModel& model : job.models()) {
      if (model.quant() == run.matrix_quant()) *assignment->add_models() = model;
    }
    return;
  }
  *assignment->mutable_models() = job.models();
}

}  // namespace ballast::core
