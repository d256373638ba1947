#include "common/jobs/variant.h"

#include <algorithm>

#include "common/jobs/workload_parts.h"

namespace ballast::jobs {

std::string VariantName(const v1::Run& run) {
  const bool both = !run.matrix_environment().empty() && !run.matrix_quant().empty();
  return run.matrix_environment() + (both ? " " : "") + run.matrix_quant();
}

v1::JobSpec SpecOf(const v1::JobSpec& job, const v1::Run& run) {
  v1::JobSpec spec = job;
  spec.clear_matrix();
  if (!run.matrix_environment().empty()) {
    const auto& names = job.matrix().environments();
    const auto place = std::find(names.begin(), names.end(), run.matrix_environment()) - names.begin();
    const auto& profiles = job.matrix().environment_profiles();
    // `none` has a profile without a name.
    const v1::EnvironmentProfile& profile =
        place < profiles.size() ? profiles.Get(static_cast<int>(place)) : v1::EnvironmentProfile::default_instance();
    spec.set_environment(profile.name());
    spec.clear_environment_profile();
    if (!profile.name().empty()) *spec.mutable_environment_profile() = profile;
  }
  if (v1::ModelLoad* load = run.matrix_quant().empty() ? nullptr : MutableLoadOf(spec.mutable_workload())) {
    load->set_quant(run.matrix_quant());
  }
  return spec;
}

}  // namespace ballast::jobs
