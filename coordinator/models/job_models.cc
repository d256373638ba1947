#include "coordinator/models/job_models.h"

#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/jobs/workload_parts.h"
#include "common/models/catalogue.h"

namespace ballast::models {
namespace {

bool NeedsEveryLevel(const v1::Workload& workload) {
  return workload.has_capacity() && workload.capacity().dimension() == v1::CapacityWorkload::QUANT_LEVEL;
}

std::vector<std::string> LevelNames(const v1::CatalogueModel& model) {
  std::vector<std::string> names;
  for (const v1::CatalogueLevel& level : model.levels()) names.push_back(level.quant());
  return names;
}

}  // namespace

absl::StatusOr<google::protobuf::RepeatedPtrField<v1::ResolvedModel>> ResolveModels(
    ModelLibrary* library, std::chrono::system_clock::time_point deadline, v1::JobSpec* spec) {
  google::protobuf::RepeatedPtrField<v1::ResolvedModel> resolved;
  v1::ModelLoad* const load = jobs::MutableLoadOf(spec->mutable_workload());
  if (load == nullptr) return resolved;
  BALLAST_ASSIGN_OR_RETURN(const v1::CatalogueModel model, library->FindModel(load->model_id()));

  const bool has_axis = !spec->matrix().quants().empty();
  std::vector<std::string> wanted;
  if (spec->workload().has_quantization()) {
    const auto& named = spec->workload().quantization().quant_levels();
    wanted = named.empty() ? LevelNames(model) : std::vector<std::string>(named.begin(), named.end());
    spec->mutable_workload()->mutable_quantization()->clear_quant_levels();
  } else if (NeedsEveryLevel(spec->workload())) {
    wanted = LevelNames(model);
  } else if (has_axis) {
    wanted.assign(spec->matrix().quants().begin(), spec->matrix().quants().end());
    spec->mutable_matrix()->clear_quants();
  } else {
    wanted = {load->quant().empty() ? model.levels(0).quant() : load->quant()};
  }
  std::set<std::string> seen;
  for (const std::string& name : wanted) {
    BALLAST_ASSIGN_OR_RETURN(const v1::CatalogueLevel* const level, GetLevel(model, name));
    if (!seen.insert(level->quant()).second) {
      return absl::InvalidArgumentError(fmt::format("the level {} is named twice; name each once", level->quant()));
    }
    BALLAST_ASSIGN_OR_RETURN(*resolved.Add(), library->Resolve(model, *level, deadline));
    if (spec->workload().has_quantization()) {
      spec->mutable_workload()->mutable_quantization()->add_quant_levels(level->quant());
    } else if (has_axis) {
      spec->mutable_matrix()->add_quants(level->quant());
    } else if (!NeedsEveryLevel(spec->workload())) {
      load->set_quant(level->quant());
    }
  }
  return resolved;
}

}  // namespace ballast::models
