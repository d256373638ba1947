// Samples of runs whose samples were thinned.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "common/metrics/metric_table.h"
#include "storage/store.h"

namespace ballast::report {

// Calls `visit` with one sample for each summary (the mean of each gauge and the last value of each counter, at the end
// of what it covers), and with those of chunks that came later and are whole, in the order of the attempt's log. Stops
// at its first error, which is returned. Chunks that cannot be decoded are told to `damaged`. Codes of the store.
[[nodiscard]] absl::Status ReadThinnedSamples(
    storage::Store& store, const std::string& run_id, std::uint32_t attempt,
    const std::function<absl::Status(std::chrono::microseconds offset, const metrics::SampleRow& row)>& visit,
    const std::function<void(std::uint64_t seq, const absl::Status& reason)>& damaged);

}  // namespace ballast::report
