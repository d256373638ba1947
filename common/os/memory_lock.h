// Memory that stays resident.
#pragma once

#include <cstddef>

#include "absl/status/status.h"

namespace ballast::os {

// Locks a mapping: its pages stay in memory from the moment on at which they are touched. Limits are checked for all of
// it now. `begin` is at the beginning of a page. RESOURCE_EXHAUSTED where the kernel refuses; the message names the
// limit and what to do. Other codes of base::ErrnoStatus. Ends with the mapping. Kernels before 4.4 bring all of it in
// at once.
[[nodiscard]] absl::Status LockAsTouched(void* begin, std::size_t bytes);

}  // namespace ballast::os
