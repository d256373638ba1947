// `ballast-coordinator init` and `token`: what is done at the coordinator's own machine.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/rpc/coordinator_flags.h"

namespace ballast::coordinator {

// Makes the certificate authority in the data directory of the configuration; what to do next, for people.
// INVALID_ARGUMENT: a --server-name that is none; codes of Pki::Create.
[[nodiscard]] absl::StatusOr<std::string> InitAuthority(const CoordinatorCommand& command);

// A join token, in one line. Needs no running coordinator, and disturbs none. INVALID_ARGUMENT; codes of Pki::Open.
[[nodiscard]] absl::StatusOr<std::string> MakeToken(const CoordinatorCommand& command);

}  // namespace ballast::coordinator
