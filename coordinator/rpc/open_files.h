// How many files, and so connections, this process may have open.
#pragma once

#include <cstddef>

namespace ballast::coordinator {

// Raises the limit of open files as far as the process may (RLIMIT_NOFILE: to the hard limit), warns where that is
// little for a fleet, and returns it.
std::size_t RaiseOpenFileLimit();

}  // namespace ballast::coordinator
