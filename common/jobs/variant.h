// The variant of a job that a run is, where the job has a matrix.
#pragma once

#include <string>

#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"

namespace ballast::jobs {

// `4gb Q4_K_M`: the name of the environment's profile, or `none`, and the quantisation level, each where the matrix has
// that axis; empty where the job has no matrix.
[[nodiscard]] std::string VariantName(const v1::Run& run);

// What a run carries out: its job's specification with the variant put in, and without a matrix. The job's matrix was
// resolved: each environment has its profile.
[[nodiscard]] v1::JobSpec SpecOf(const v1::JobSpec& job, const v1::Run& run);

}  // namespace ballast::jobs
