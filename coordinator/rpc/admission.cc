#include "coordinator/rpc/admission.h"

#include <string>

#include <fmt/format.h>

#include "common/base/units.h"
#include "common/rpc/channel.h"
#include "coordinator/rpc/client_key.h"

namespace ballast::coordinator {

grpc::Status Admission::Admit(grpc::ServerContextBase* context, std::string_view action) {
  const Caller caller = CallerOf(*context);
  if (caller.peer.starts_with("unix:")) return grpc::Status::OK;
  const auto wait = limiter_.Take(ClientKeyOf(caller));
  if (!wait) return grpc::Status::OK;
  const absl::Status refused = absl::ResourceExhaustedError(
      fmt::format("this client makes more than {} calls a second (access_limits.calls_per_second); try again in {}",
                  per_second_, base::FormatDuration(*wait)));
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(*wait).count();
  context->AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(milliseconds));
  audit_->Record(caller, {.action = action, .subject = ""}, refused);
  return rpc::ToGrpc(refused);
}

}  // namespace ballast::coordinator
