// The variants of a job with a matrix. Inside of the core only.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/worker_service.pb.h"

namespace ballast::core {

// One combination of the values of a matrix's axes; empty where the job has no such axis.
struct Variant {
  std::string environment;
  std::string quant;
  friend auto operator<=>(const Variant&, const Variant&) = default;
};

// The one that a run is of.
[[nodiscard]] Variant VariantOf(const v1::Run& run);

// Every variant, the quantisation levels of one environment together; one without anything where there is no matrix.
[[nodiscard]] std::vector<Variant> VariantsOf(const v1::JobSpec& spec);

// The variant that comes at `place` in a repetition: each repetition begins with another, so that none is always first.
[[nodiscard]] const Variant& VariantAt(const std::vector<Variant>& variants, std::uint32_t repetition,
                                       std::size_t place);

// INVALID_ARGUMENT where the matrix was not resolved: each environment needs its profile.
[[nodiscard]] absl::Status CheckMatrix(const v1::JobSpec& spec);

// What a device is told to do: the job's specification with the run's variant put in, and the models that it needs.
void FillVariant(const v1::Job& job, const v1::Run& run, v1::Assignment* assignment);

}  // namespace ballast::core
