// Advice from everything that was ever measured.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/model.pb.h"
#include "ballast/v1/report.pb.h"
#include "storage/store.h"

namespace ballast::report {

// Which level of a model to use, by the loads in the history on the devices that are asked for, and by estimates from
// `entries`, which are the levels of the model that are known now; where it is known no more, they are the NOT_FOUND
// that says so. Loads under other conditions than the ones that count are named in `remarks`. INVALID_ARGUMENT: no
// model is named, or a limit is out of its range. NOT_FOUND: a device or a job that does not exist, or a model that is
// neither known nor in the history. Codes of the store, and of `entries`. Thread-safe; reads only.
[[nodiscard]] absl::StatusOr<v1::ModelAdvice> BuildAdvice(storage::Store& store, const v1::AdviseModelRequest& request,
                                                          const absl::StatusOr<std::vector<v1::ModelEntry>>& entries);

}  // namespace ballast::report
