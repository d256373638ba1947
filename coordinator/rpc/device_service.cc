#include "coordinator/rpc/device_service.h"

#include <utility>

#include "common/rpc/channel.h"
#include "coordinator/rpc/answer.h"

namespace ballast::coordinator {

grpc::Status DeviceService::GetDevice(grpc::ServerContext* context, const v1::GetDeviceRequest* request,
                                      v1::Device* reply) {
  if (grpc::Status refused = admission_->Admit(context, "GetDevice"); !refused.ok()) return refused;
  absl::StatusOr<v1::Device> device = actor_->Call<v1::Device>(
      context->deadline(), [device_id = request->device_id()](core::Core& core, const core::Instant&, core::Actions*) {
        return core.GetDevice(device_id);
      });
  // While nothing can be stored there is no core, but what was stored can be read.
  if (absl::IsUnavailable(device.status())) device = store_->GetDevice(request->device_id());
  return Answer(std::move(device), reply);
}

grpc::Status DeviceService::ListDevices(grpc::ServerContext* context, const v1::ListDevicesRequest* request,
                                        v1::ListDevicesResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "ListDevices"); !refused.ok()) return refused;
  absl::StatusOr<v1::ListDevicesResponse> stored = store_->ListDevices(*request);
  if (!stored.ok()) return rpc::ToGrpc(stored.status());
  // The store knows who there is; the core knows when each was heard last.
  absl::StatusOr<v1::ListDevicesResponse> live = actor_->Call<v1::ListDevicesResponse>(
      context->deadline(),
      [page = *stored](core::Core& core, const core::Instant&,
                       core::Actions*) -> absl::StatusOr<v1::ListDevicesResponse> {
        v1::ListDevicesResponse fresh = page;
        for (v1::Device& device : *fresh.mutable_devices()) {
          if (absl::StatusOr<v1::Device> known = core.GetDevice(device.device_id()); known.ok()) device.Swap(&*known);
        }
        return fresh;
      });
  reply->Swap(live.ok() ? &*live : &*stored);
  return grpc::Status::OK;
}

grpc::Status DeviceService::Change(grpc::ServerContext* context, std::string_view action, const std::string& device_id,
                                   DeviceBody body, v1::Device* reply) {
  if (grpc::Status refused = admission_->Admit(context, action); !refused.ok()) return refused;
  return audit_->Done(*context, {.action = action, .subject = device_id},
                      Answer(actor_->Call<v1::Device>(context->deadline(), std::move(body)), reply));
}

grpc::Status DeviceService::LabelDevice(grpc::ServerContext* context, const v1::LabelDeviceRequest* request,
                                        v1::Device* reply) {
  return Change(
      context, "LabelDevice", request->device_id(),
      [labels = *request](core::Core& core, const core::Instant& now, core::Actions* actions) {
        return core.LabelDevice(now, labels, actions);
      },
      reply);
}

grpc::Status DeviceService::DrainDevice(grpc::ServerContext* context, const v1::DrainDeviceRequest* request,
                                        v1::Device* reply) {
  return Change(
      context, "DrainDevice", request->device_id(),
      [device_id = request->device_id()](core::Core& core, const core::Instant& now, core::Actions* actions) {
        return core.SetDrained(now, device_id, true, actions);
      },
      reply);
}

grpc::Status DeviceService::ResumeDevice(grpc::ServerContext* context, const v1::ResumeDeviceRequest* request,
                                         v1::Device* reply) {
  return Change(
      context, "ResumeDevice", request->device_id(),
      [device_id = request->device_id()](core::Core& core, const core::Instant& now, core::Actions* actions) {
        return core.SetDrained(now, device_id, false, actions);
      },
      reply);
}

grpc::Status DeviceService::RemoveDevice(grpc::ServerContext* context, const v1::RemoveDeviceRequest* request,
                                         v1::Device* reply) {
  return Change(
      context, "RemoveDevice", request->device_id(),
      [device_id = request->device_id()](core::Core& core, const core::Instant& now, core::Actions* actions) {
        return core.RemoveDevice(now, device_id, actions);
      },
      reply);
}

}  // namespace ballast::coordinator
