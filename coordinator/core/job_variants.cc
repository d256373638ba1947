#include "coordinator/core/job_variants.h"

#include <fmt/format.h>

#include "common/jobs/variant.h"

namespace ballast::core {

Variant VariantOf(const v1::Run& run) {
  return {.environment = run.matrix_environment(), .quant = run.matrix_quant()};
}

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
  *assignment->mutable_spec() = jobs::SpecOf(job.spec(), run);
  for (const v1::ResolvedModel& model : job.models()) {
    if (run.matrix_quant().empty() || model.quant() == run.matrix_quant()) *assignment->add_models() = model;
  }
}

}  // namespace ballast::core
