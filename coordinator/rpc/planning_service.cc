#include "coordinator/rpc/planning_service.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_rules.h"
#include "coordinator/rpc/answer.h"
#include "coordinator/rpc/caller.h"

namespace ballast::coordinator {
namespace {

// Without certificates nobody is known to be an administrator.
bool IsAdministrator(const Caller& caller) {
  return caller.authenticated && caller.role == v1::ADMIN;
}

// Whose something is: who a certificate says it is, not who somebody says he is; an administrator may act for another.
std::string OwnerOf(const Caller& caller, const std::string& said) {
  if (!caller.authenticated || (IsAdministrator(caller) && !said.empty())) return said;
  return caller.name;
}

const std::string& RequesterOf(const Caller& caller, const std::string& said) {
  return caller.authenticated ? caller.name : said;
}

}  // namespace

grpc::Status ReservationService::CreateReservation(grpc::ServerContext* context,
                                                   const v1::CreateReservationRequest* request,
                                                   v1::Reservation* reply) {
  if (grpc::Status refused = admission_->Admit(context, "CreateReservation"); !refused.ok()) return refused;
  const Caller caller = CallerOf(*context);
  v1::CreateReservationRequest named = *request;
  named.set_holder(OwnerOf(caller, request->holder()));
  if (!request->holder().empty() && request->holder() != named.holder()) {
    return audit_->Done(*context, {.action = "CreateReservation", .subject = request->note()},
                        {grpc::StatusCode::PERMISSION_DENIED,
                         fmt::format("a reservation for {} is made by {} or an administrator; leave the holder out to "
                                     "make it for {}",
                                     base::Quoted(request->holder()), request->holder(), caller.name)});
  }
  grpc::Status answer =
      Answer(actor_->Call<v1::Reservation>(context->deadline(),
                                           [wanted = std::move(named), reservation_id = ids_->Next()](
                                               core::Core& core, const core::Instant& now, core::Actions* actions) {
                                             return core.CreateReservation(now, reservation_id, wanted, actions);
                                           }),
             reply);
  return audit_->Done(*context,
                      {.action = "CreateReservation",
                       .subject = answer.ok() ? reply->reservation_id() : request->note(),
                       .claimed_name = request->holder()},
                      std::move(answer));
}

grpc::Status ReservationService::ListReservations(grpc::ServerContext* context,
                                                  const v1::ListReservationsRequest* request,
                                                  v1::ListReservationsResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "ListReservations"); !refused.ok()) return refused;
  return Answer(actor_->Call<v1::ListReservationsResponse>(
                    context->deadline(),
                    [holder = request->holder()](core::Core& core, const core::Instant&,
                                                 core::Actions*) -> absl::StatusOr<v1::ListReservationsResponse> {
                      v1::ListReservationsResponse response;
                      for (v1::Reservation& reservation : core.ListReservations(holder)) {
                        response.add_reservations()->Swap(&reservation);
                      }
                      return response;
                    }),
                reply);
}

grpc::Status ReservationService::EndReservation(grpc::ServerContext* context, const v1::EndReservationRequest* request,
                                                v1::Reservation* reply) {
  if (grpc::Status refused = admission_->Admit(context, "EndReservation"); !refused.ok()) return refused;
  const Caller caller = CallerOf(*context);
  grpc::Status answer =
      Answer(actor_->Call<v1::Reservation>(
                 context->deadline(),
                 [asked = *request, caller](core::Core& core, const core::Instant& now, core::Actions* actions) {
                   return core.EndReservation(now, asked.reservation_id(), RequesterOf(caller, asked.requester()),
                                              IsAdministrator(caller), actions);
                 }),
             reply);
  return audit_->Done(
      *context,
      {.action = "EndReservation", .subject = request->reservation_id(), .claimed_name = request->requester()},
      std::move(answer));
}

grpc::Status ScheduleService::PutSchedule(grpc::ServerContext* context, const v1::PutScheduleRequest* request,
                                          v1::Schedule* reply) {
  if (grpc::Status refused = admission_->Admit(context, "PutSchedule"); !refused.ok()) return refused;
  grpc::Status answer = Answer(Put(context->deadline(), CallerOf(*context), request->schedule()), reply);
  return audit_->Done(*context,
                      {.action = "PutSchedule",
                       .subject = request->schedule().schedule_id(),
                       .claimed_name = request->schedule().submitter()},
                      std::move(answer));
}

absl::StatusOr<v1::Schedule> ScheduleService::Put(std::chrono::system_clock::time_point deadline, const Caller& caller,
                                                  v1::Schedule schedule) {
  schedule.set_submitter(OwnerOf(caller, schedule.submitter()));
  // What its job names is looked for again each time: what is kept is what was written.
  if (const absl::Status status = intake_->Check(deadline, schedule.mutable_job());
      !status.ok() && !schedule.paused()) {
    return base::WithContext(status, "job");
  }
  config::ApplyDefaults(&schedule);
  const auto& message = static_cast<const google::protobuf::Message&>(schedule);
  BALLAST_RETURN_IF_ERROR(config::Validate(message));
  return actor_->Call<v1::Schedule>(deadline, [schedule = std::move(schedule), administrator = IsAdministrator(caller)](
                                                  core::Core& core, const core::Instant& now, core::Actions* actions) {
    return core.SetSchedule(now, schedule, administrator, actions);
  });
}

grpc::Status ScheduleService::ListSchedules(grpc::ServerContext* context, const v1::ListSchedulesRequest* request,
                                            v1::ListSchedulesResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "ListSchedules"); !refused.ok()) return refused;
  return Answer(
      actor_->Call<v1::ListSchedulesResponse>(
          context->deadline(),
          [schedule_id = request->schedule_id()](core::Core& core, const core::Instant&,
                                                 core::Actions*) -> absl::StatusOr<v1::ListSchedulesResponse> {
            v1::ListSchedulesResponse response;
            for (v1::Schedule& schedule : core.ListSchedules()) {
              if (schedule_id.empty() || schedule.schedule_id() == schedule_id)
                response.add_schedules()->Swap(&schedule);
            }
            return response;
          }),
      reply);
}

grpc::Status ScheduleService::PauseSchedule(grpc::ServerContext* context, const v1::PauseScheduleRequest* request,
                                            v1::Schedule* reply) {
  if (grpc::Status refused = admission_->Admit(context, "PauseSchedule"); !refused.ok()) return refused;
  const Caller caller = CallerOf(*context);
  grpc::Status answer =
      Answer(actor_->Call<v1::Schedule>(
                 context->deadline(),
                 [asked = *request, caller](core::Core& core, const core::Instant& now, core::Actions* actions) {
                   return core.SetPaused(now, asked.schedule_id(), true, RequesterOf(caller, asked.requester()),
                                         IsAdministrator(caller), actions);
                 }),
             reply);
  return audit_->Done(
      *context, {.action = "PauseSchedule", .subject = request->schedule_id(), .claimed_name = request->requester()},
      std::move(answer));
}

grpc::Status ScheduleService::ResumeSchedule(grpc::ServerContext* context, const v1::ResumeScheduleRequest* request,
                                             v1::Schedule* reply) {
  if (grpc::Status refused = admission_->Admit(context, "ResumeSchedule"); !refused.ok()) return refused;
  grpc::Status answer = Answer(Resume(context->deadline(), CallerOf(*context), *request), reply);
  return audit_->Done(
      *context, {.action = "ResumeSchedule", .subject = request->schedule_id(), .claimed_name = request->requester()},
      std::move(answer));
}

absl::StatusOr<v1::Schedule> ScheduleService::Resume(std::chrono::system_clock::time_point deadline,
                                                     const Caller& caller, const v1::ResumeScheduleRequest& request) {
  const auto find = [schedule_id = request.schedule_id()](core::Core& core, const core::Instant&, core::Actions*) {
    return core.FindSchedule(schedule_id);
  };
  BALLAST_ASSIGN_OR_RETURN(v1::Schedule schedule, actor_->Call<v1::Schedule>(deadline, find));
  if (const absl::Status status = intake_->Check(deadline, schedule.mutable_job()); !status.ok()) {
    return base::WithContext(status, "job");
  }
  return actor_->Call<v1::Schedule>(
      deadline, [asked = request, caller](core::Core& core, const core::Instant& now, core::Actions* actions) {
        return core.SetPaused(now, asked.schedule_id(), false, RequesterOf(caller, asked.requester()),
                              IsAdministrator(caller), actions);
      });
}

grpc::Status ScheduleService::DeleteSchedule(grpc::ServerContext* context, const v1::DeleteScheduleRequest* request,
                                             v1::Schedule* reply) {
  if (grpc::Status refused = admission_->Admit(context, "DeleteSchedule"); !refused.ok()) return refused;
  const Caller caller = CallerOf(*context);
  grpc::Status answer =
      Answer(actor_->Call<v1::Schedule>(
                 context->deadline(),
                 [asked = *request, caller](core::Core& core, const core::Instant& now, core::Actions* actions) {
                   return core.RemoveSchedule(now, asked.schedule_id(), RequesterOf(caller, asked.requester()),
                                              IsAdministrator(caller), actions);
                 }),
             reply);
  return audit_->Done(
      *context, {.action = "DeleteSchedule", .subject = request->schedule_id(), .claimed_name = request->requester()},
      std::move(answer));
}

}  // namespace ballast::coordinator
