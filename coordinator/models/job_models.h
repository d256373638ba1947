// Which models a job needs.
#pragma once

#include <chrono>

#include "absl/status/statusor.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/model.pb.h"
#include "coordinator/models/model_library.h"
#include "google/protobuf/repeated_ptr_field.h"

namespace ballast::models {

// Finds the files that the workload's runs need, and writes down in the specification which levels these are: a level
// that was left out is the model's first, levels that were left out are all, and those of a matrix are its own. One
// entry a level; none for workloads
// without a model. NOT_FOUND names the nearest identifiers or levels, INVALID_ARGUMENT a level that is named twice;
// otherwise codes of ModelLibrary::Resolve.
[[nodiscard]] absl::StatusOr<google::protobuf::RepeatedPtrField<v1::ResolvedModel>> ResolveModels(
    ModelLibrary* library, std::chrono::system_clock::time_point deadline, v1::JobSpec* spec);

}  // namespace ballast::models
