// Events and samples of a run, out of its chunks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/telemetry.pb.h"
#include "storage/store.h"

namespace ballast::report {

// Most events of a run that a report holds: its first ones.
inline constexpr std::size_t kMaxEventsPerRun = 10'000;

struct RunTelemetry {
  std::vector<v1::Event> events;            // in order
  std::optional<v1::SampleSeries> samples;  // absent where they were not asked for
  std::vector<std::string> warnings;        // what is missing, one sentence each
  // Of a soak: its cycles, as far as their events and the samples beside these tell. Its result has more, at the end.
  std::vector<v1::StabilityCycle> cycles;
};

// Reads the last attempt of a run; empty where it has none. Samples are thinned to at most `max_samples`, and left out
// altogether where that is absent. Chunks that cannot be decoded are left out and named in a warning. Codes of the
// store.
[[nodiscard]] absl::StatusOr<RunTelemetry> ReadTelemetry(storage::Store& store, const v1::Run& run,
                                                         std::optional<std::uint32_t> max_samples);

}  // namespace ballast::report
