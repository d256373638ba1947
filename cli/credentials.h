// The certificates that `ballast login` keeps: one directory a coordinator.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/context.h"
#include "common/tls/identity.h"

namespace ballast::cli {

// Where the certificate for the coordinator at `address` is kept: in `credentials` of the configuration file where that
// is about this coordinator, else beside that file, in `credentials/ADDRESS`. FAILED_PRECONDITION without a home.
[[nodiscard]] absl::StatusOr<std::filesystem::path> IdentityFile(const std::string& address, const Context& context);

// The identity for the coordinator at `address`; nothing where nobody logged in there, and for unix sockets. Where it
// is due, it is renewed there and kept; a renewal that fails does no harm as long as it is valid. Where the next one
// could not be kept `warn` gets a text for the user, and none is asked for if that shows before. UNAUTHENTICATED: it
// has expired, or its file cannot be used. Errors have their next step.
[[nodiscard]] absl::StatusOr<std::optional<tls::Identity>> FindIdentity(
    const std::string& address, Context& context, const std::function<void(const std::string&)>& warn);

}  // namespace ballast::cli
