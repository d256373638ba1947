// Whether a call may begin: what each client may ask of the coordinator.
#pragma once

#include <string_view>

#include "ballast/v1/config.pb.h"
#include "common/base/clock.h"
#include "coordinator/rpc/audit_log.h"
#include "coordinator/rpc/rate_limiter.h"
#include "grpcpp/grpcpp.h"

namespace ballast::coordinator {

// Counts calls. The unix socket is not counted: who may open it is said by its file. Thread-safe.
class Admission {
 public:
  // Both outlive this.
  Admission(const v1::AccessLimits& limits, const base::Clock* clock, AuditLog* audit)
      : per_second_(limits.calls_per_second()),
        limiter_(limits.calls_per_second(), 10.0 * limits.calls_per_second(), clock),
        audit_(audit) {}

  // To be asked at the beginning of each call. RESOURCE_EXHAUSTED, with the time after which to try again in the
  // message and in the trailing metadata (grpc-retry-pushback-ms), where this client calls too often; that is in the
  // audit log then.
  [[nodiscard]] grpc::Status Admit(grpc::ServerContextBase* context, std::string_view action);

 private:
  const std::uint32_t per_second_;
  RateLimiter limiter_;
  AuditLog* const audit_;
};

}  // namespace ballast::coordinator
