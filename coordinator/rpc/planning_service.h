// ReservationService and ScheduleService over the actor.
#pragma once

#include <chrono>

#include "absl/status/statusor.h"
#include "ballast/v1/planning_service.grpc.pb.h"
#include "coordinator/rpc/actor.h"
#include "coordinator/rpc/admission.h"
#include "coordinator/rpc/audit_log.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/job_ids.h"
#include "coordinator/rpc/job_intake.h"

namespace ballast::coordinator {

// What it is given must outlive it. Thread-safe.
class ReservationService final : public v1::ReservationService::Service {
 public:
  ReservationService(Actor* actor, JobIds* ids, Admission* admission, AuditLog* audit)
      : actor_(actor), ids_(ids), admission_(admission), audit_(audit) {}

  grpc::Status CreateReservation(grpc::ServerContext* context, const v1::CreateReservationRequest* request,
                                 v1::Reservation* reply) override;
  grpc::Status ListReservations(grpc::ServerContext* context, const v1::ListReservationsRequest* request,
                                v1::ListReservationsResponse* reply) override;
  grpc::Status EndReservation(grpc::ServerContext* context, const v1::EndReservationRequest* request,
                              v1::Reservation* reply) override;

 private:
  Actor* const actor_;
  JobIds* const ids_;
  Admission* const admission_;
  AuditLog* const audit_;
};

// What it is given must outlive it. Thread-safe.
class ScheduleService final : public v1::ScheduleService::Service {
 public:
  ScheduleService(Actor* actor, JobIntake* intake, Admission* admission, AuditLog* audit)
      : actor_(actor), intake_(intake), admission_(admission), audit_(audit) {}

  grpc::Status PutSchedule(grpc::ServerContext* context, const v1::PutScheduleRequest* request,
                           v1::Schedule* reply) override;
  grpc::Status ListSchedules(grpc::ServerContext* context, const v1::ListSchedulesRequest* request,
                             v1::ListSchedulesResponse* reply) override;
  grpc::Status PauseSchedule(grpc::ServerContext* context, const v1::PauseScheduleRequest* request,
                             v1::Schedule* reply) override;
  grpc::Status ResumeSchedule(grpc::ServerContext* context, const v1::ResumeScheduleRequest* request,
                              v1::Schedule* reply) override;
  grpc::Status DeleteSchedule(grpc::ServerContext* context, const v1::DeleteScheduleRequest* request,
                              v1::Schedule* reply) override;

 private:
  // Checks and keeps it. Codes of PutSchedule.
  [[nodiscard]] absl::StatusOr<v1::Schedule> Put(std::chrono::system_clock::time_point deadline, const Caller& caller,
                                                 v1::Schedule schedule);
  // Checks its job as Put does. Codes of ResumeSchedule.
  [[nodiscard]] absl::StatusOr<v1::Schedule> Resume(std::chrono::system_clock::time_point deadline,
                                                    const Caller& caller, const v1::ResumeScheduleRequest& request);

  Actor* const actor_;
  JobIntake* const intake_;
  Admission* const admission_;
  AuditLog* const audit_;
};

}  // namespace ballast::coordinator
