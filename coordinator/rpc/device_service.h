// DeviceService over the actor and the store.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "ballast/v1/client_service.grpc.pb.h"
#include "coordinator/rpc/actor.h"
#include "coordinator/rpc/admission.h"
#include "coordinator/rpc/audit_log.h"
#include "storage/store.h"

namespace ballast::coordinator {

// What it is given must outlive it. Thread-safe.
class DeviceService final : public v1::DeviceService::Service {
 public:
  DeviceService(Actor* actor, storage::Store* store, Admission* admission, AuditLog* audit)
      : actor_(actor), store_(store), admission_(admission), audit_(audit) {}

  grpc::Status GetDevice(grpc::ServerContext* context, const v1::GetDeviceRequest* request, v1::Device* reply) override;
  grpc::Status ListDevices(grpc::ServerContext* context, const v1::ListDevicesRequest* request,
                           v1::ListDevicesResponse* reply) override;
  grpc::Status LabelDevice(grpc::ServerContext* context, const v1::LabelDeviceRequest* request,
                           v1::Device* reply) override;
  grpc::Status DrainDevice(grpc::ServerContext* context, const v1::DrainDeviceRequest* request,
                           v1::Device* reply) override;
  grpc::Status ResumeDevice(grpc::ServerContext* context, const v1::ResumeDeviceRequest* request,
                            v1::Device* reply) override;
  grpc::Status RemoveDevice(grpc::ServerContext* context, const v1::RemoveDeviceRequest* request,
                            v1::Device* reply) override;

 private:
  using DeviceBody = std::function<absl::StatusOr<v1::Device>(core::Core&, const core::Instant&, core::Actions*)>;

  // Carries out what changes a device, and writes it down.
  [[nodiscard]] grpc::Status Change(grpc::ServerContext* context, std::string_view action, const std::string& device_id,
                                    DeviceBody body, v1::Device* reply);

  Actor* const actor_;
  storage::Store* const store_;
  Admission* const admission_;
  AuditLog* const audit_;
};

}  // namespace ballast::coordinator
