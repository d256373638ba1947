// Times in messages.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "common/base/clock.h"

namespace ballast::core {

// `2026-03-29 01:30:00Z`.
[[nodiscard]] inline std::string UtcText(base::SystemTime time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%SZ", absl::FromChrono(time), absl::UTCTimeZone());
}

}  // namespace ballast::core
