// How the configuration shares runs out.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ballast/v1/config.pb.h"
#include "coordinator/core/state.h"

namespace ballast::coordinator {

// Of a configuration that has its defaults. Where it names no self-test, a small pressure job is it.
[[nodiscard]] core::SchedulingOptions SchedulingOptionsOf(const v1::SchedulingConfig& config);

// The time zone with an IANA name, from the machine's database. INVALID_ARGUMENT where it has none.
[[nodiscard]] absl::StatusOr<absl::TimeZone> FindTimeZone(const std::string& name);

}  // namespace ballast::coordinator
