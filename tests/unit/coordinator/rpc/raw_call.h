// Calls by name, for services whose protos are not ours.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/grpcpp.h"

namespace ballast::coordinator {

// Sends one message to a method and returns the first that comes back, both as they are on the wire. Blocks, at most
// ten seconds.
[[nodiscard]] absl::StatusOr<std::string> RawCall(const std::shared_ptr<grpc::Channel>& channel,
                                                  const std::string& method, const std::string& request);

}  // namespace ballast::coordinator
