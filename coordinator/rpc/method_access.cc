#include "coordinator/rpc/method_access.h"

#include <algorithm>
#include <array>

namespace ballast::coordinator {
namespace {

// Clients submit and read; what changes devices, certificates and the model store is for administrators
// (docs/security.md).
constexpr std::array kMethods = {
    MethodAccess{"/ballast.v1.AdminService/CreateJoinToken", Access::kAdmin},
    MethodAccess{"/ballast.v1.AdminService/ListAuditEntries", Access::kAdmin},
    MethodAccess{"/ballast.v1.AdminService/ListCertificates", Access::kAdmin},
    MethodAccess{"/ballast.v1.AdminService/RevokeCertificates", Access::kAdmin},
    MethodAccess{"/ballast.v1.DeviceService/DrainDevice", Access::kAdmin},
    MethodAccess{"/ballast.v1.DeviceService/GetDevice", Access::kClient},
    MethodAccess{"/ballast.v1.DeviceService/LabelDevice", Access::kAdmin},
    MethodAccess{"/ballast.v1.DeviceService/ListDevices", Access::kClient},
    MethodAccess{"/ballast.v1.DeviceService/RemoveDevice", Access::kAdmin},
    MethodAccess{"/ballast.v1.DeviceService/ResumeDevice", Access::kAdmin},
    MethodAccess{"/ballast.v1.EnrollmentService/Enroll", Access::kAnyone},
    MethodAccess{"/ballast.v1.EnrollmentService/Renew", Access::kHolder},
    MethodAccess{"/ballast.v1.JobService/CancelJob", Access::kClient},
    MethodAccess{"/ballast.v1.JobService/GetJob", Access::kClient},
    MethodAccess{"/ballast.v1.JobService/ListJobs", Access::kClient},
    MethodAccess{"/ballast.v1.JobService/SubmitJob", Access::kClient},
    MethodAccess{"/ballast.v1.JobService/WatchJob", Access::kClient},
    MethodAccess{"/ballast.v1.ModelService/AdviseModel", Access::kClient},
    MethodAccess{"/ballast.v1.ModelService/ListModels", Access::kClient},
    MethodAccess{"/ballast.v1.ModelService/PushModel", Access::kAdmin},
    MethodAccess{"/ballast.v1.ModelService/RemoveModel", Access::kAdmin},
    MethodAccess{"/ballast.v1.ReportService/CompareRuns", Access::kClient},
    MethodAccess{"/ballast.v1.ReportService/ExportReport", Access::kClient},
    MethodAccess{"/ballast.v1.ReportService/GetReport", Access::kClient},
    MethodAccess{"/ballast.v1.ReservationService/CreateReservation", Access::kClient},
    MethodAccess{"/ballast.v1.ReservationService/EndReservation", Access::kClient},
    MethodAccess{"/ballast.v1.ReservationService/ListReservations", Access::kClient},
    MethodAccess{"/ballast.v1.RunService/GetRun", Access::kClient},
    MethodAccess{"/ballast.v1.RunService/ListRuns", Access::kClient},
    MethodAccess{"/ballast.v1.RunService/ReadSamples", Access::kClient},
    MethodAccess{"/ballast.v1.ScheduleService/DeleteSchedule", Access::kClient},
    MethodAccess{"/ballast.v1.ScheduleService/ListSchedules", Access::kClient},
    MethodAccess{"/ballast.v1.ScheduleService/PauseSchedule", Access::kClient},
    MethodAccess{"/ballast.v1.ScheduleService/PutSchedule", Access::kClient},
    MethodAccess{"/ballast.v1.ScheduleService/ResumeSchedule", Access::kClient},
    MethodAccess{"/ballast.v1.WorkerService/Connect", Access::kWorker},
    MethodAccess{"/ballast.v1.WorkerService/FetchModel", Access::kWorker},
    // Of gRPC itself. Whether the coordinator serves is no secret: load balancers and monitors ask without a
    // certificate.
    MethodAccess{"/grpc.health.v1.Health/Check", Access::kAnyone},
    MethodAccess{"/grpc.health.v1.Health/Watch", Access::kAnyone},
    MethodAccess{"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Access::kClient},
};

}  // namespace

std::span<const MethodAccess> MethodTable() {
  return kMethods;
}

std::optional<Access> AccessTo(std::string_view method) {
  const auto* const found = std::ranges::find(kMethods, method, &MethodAccess::method);
  if (found == kMethods.end()) return std::nullopt;
  return found->access;
}

bool Allows(Access access, v1::Role role) {
  switch (access) {
    case Access::kAnyone:
      return true;
    case Access::kHolder:
      return role == v1::WORKER || role == v1::CLIENT || role == v1::ADMIN;
    case Access::kWorker:
      return role == v1::WORKER;
    case Access::kClient:
      return role == v1::CLIENT || role == v1::ADMIN;
    case Access::kAdmin:
      return role == v1::ADMIN;
  }
  return false;
}

std::string_view AudienceOf(Access access) {
  switch (access) {
    case Access::kAnyone:
      return "everybody";
    case Access::kHolder:
      return "holders of a certificate";
    case Access::kWorker:
      return "workers";
    case Access::kClient:
      return "clients and administrators";
    case Access::kAdmin:
      return "administrators";
  }
  return "nobody";
}

}  // namespace ballast::coordinator
