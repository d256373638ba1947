// DeviceService over the actor and the store.
#pragma once

#include "ballast/v1/client_service.grpc.pb.h"
#include "coordinator/rpc/actor.h"
#include "storage/store.h"

namespace ballast::coordinator {

// What it is given must outlive it. Thread-safe.
class DeviceService final : public v1::DeviceService::Service {
 public:
  DeviceService(Actor* actor, storage::Store* store) : actor_(actor), store_(store) {}

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
  Actor* const actor_;
  storage::Store* const store_;
};

}  // namespace ballast::coordinator
