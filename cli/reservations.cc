// ballast reservations: create, list, end.
#include <memory>
#include <string_view>
#include <utility>

#include "cli/commands.h"
#include "cli/device_flags.h"
#include "cli/error_text.h"
#include "cli/render/list_fields.h"
#include "cli/session.h"
#include "cli/time_text.h"
#include "common/base/status.h"
#include "common/base/units.h"

namespace ballast::cli {
namespace {

struct ReservationFlags {
  ConnectionFlags connection;
  std::string output;
  DeviceFlags where;
  std::string from;
  std::string until;
  std::string duration;
  std::string holder;
  std::string note;
  std::string reservation_id;
};

// The next step after a refusal: about the field that its message begins with, else about what the code says.
absl::Status ExplainCreate(const absl::Status& status) {
  constexpr std::pair<std::string_view, std::string_view> kSteps[] = {
      {"devices.expression", "mend --on, for instance --on 'rack=a, memory_bytes<=4GiB'"},
      {"start_time", "--from 2h is in two hours; without --from it begins now"},
      {"end_time", "--for 2h, or --until-time with a time after its beginning; 30 days at most"},
      {"holder", "--holder NAME"},
      {"note", "a shorter --note"},
  };
  const std::string message(status.message());
  for (const auto& [begin, step] : kSteps) {
    if (message.starts_with(begin)) return WithNextStep(status, step);
  }
  if (absl::IsAlreadyExists(status) || absl::IsFailedPrecondition(status)) {
    return WithNextStep(status, "another time or other devices; ballast reservations list");
  }
  return WithNextStep(status, absl::IsNotFound(status) ? "ballast devices list" : "ballast reservations create --help");
}

ExitCode Print(const v1::Reservation& reservation, OutputFormat output, Context& context) {
  if (output == OutputFormat::kJson) {
    PrintJson(reservation, context);
  } else {
    PrintRecords(std::vector<v1::Reservation>{reservation}, ReservationFields(), output, context);
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Create(const ReservationFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  constexpr char kExample[] = "ballast reservations create --device d-0123456789 --for 2h";
  v1::CreateReservationRequest request;
  BALLAST_RETURN_IF_ERROR(FillDevices(flags.where, request.mutable_devices()));
  BALLAST_RETURN_IF_ERROR(RequireArgument(ChoosesDevices(request.devices()), "the choice of devices", kExample));
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.until.empty() || !flags.duration.empty(), "the end", kExample));
  if (!flags.until.empty() && !flags.duration.empty()) {
    return WithNextStep(absl::InvalidArgumentError("--until-time and --for both say when it ends"), "give one of them");
  }
  base::SystemTime start = context.clock.Now();
  if (!flags.from.empty()) {
    BALLAST_ASSIGN_OR_RETURN(*request.mutable_start_time(), ParseComingTime("--from", flags.from, context.clock));
    start = base::FromProto(request.start_time());
  }
  if (!flags.until.empty()) {
    BALLAST_ASSIGN_OR_RETURN(*request.mutable_end_time(), ParseComingTime("--until-time", flags.until, context.clock));
  } else {
    const auto duration = base::ParseDuration(flags.duration);
    if (!duration.ok()) {
      return WithNextStep(
          absl::InvalidArgumentError(fmt::format("--for: {}", std::string(duration.status().message()))), "--for 2h");
    }
    BALLAST_ASSIGN_OR_RETURN(*request.mutable_end_time(), TimeAfter("--for", start, *duration));
  }
  request.set_note(flags.note);
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  request.set_holder(flags.holder.empty() ? session->CallerName() : flags.holder);
  const auto created = session->Call(&v1::ReservationService::Stub::CreateReservation, request);
  if (!created.ok()) return ExplainCreate(created.status());
  return Print(*created, output, context);
}

absl::StatusOr<ExitCode> List(const ReservationFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  v1::ListReservationsRequest request;
  request.set_holder(flags.holder);
  BALLAST_ASSIGN_OR_RETURN(const v1::ListReservationsResponse response,
                           session->Call(&v1::ReservationService::Stub::ListReservations, request));
  if (output == OutputFormat::kJson) {
    PrintJson(response, context);
  } else {
    PrintRecords(response.reservations(), ReservationFields(), output, context);
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> End(const ReservationFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(!flags.reservation_id.empty(), "the reservation",
                      "ballast reservations end RESERVATION; ballast reservations list shows them"));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  v1::EndReservationRequest request;
  request.set_reservation_id(flags.reservation_id);
  request.set_requester(session->CallerName());
  const auto ended = session->Call(&v1::ReservationService::Stub::EndReservation, request);
  if (!ended.ok()) return WithNextStep(ended.status(), "ballast reservations list");
  return Print(*ended, output, context);
}

}  // namespace

void AddReservationsCommands(CommandTree& tree) {
  const auto flags = std::make_shared<ReservationFlags>();
  CLI::App* group = tree.AddGroup("reservations", "Devices for one person for a time: create, list, end.");

  CLI::App* create =
      tree.Add(group, "create", "Reserve devices: runs of others wait until it is over.",
               {"ballast reservations create --device d-0123456789 --for 2h --note 'firmware test'",
                "ballast reservations create --on rack=a --count 3 --from 2026-03-01T20:00:00Z --for 8h"},
               [flags](Context& context) { return Create(*flags, context); });
  AddDeviceFlags(create, &flags->where);
  create->add_option("--from", flags->from, "When it begins (default now): a time, a date, or 2h for in two hours")
      ->type_name("TIME");
  create->add_option("--until-time", flags->until, "When it ends, in the same ways")->type_name("TIME");
  create->add_option("--for", flags->duration, "How long it lasts, instead of --until-time; at most 30 days")
      ->type_name("TIME");
  create->add_option("--holder", flags->holder, "For whom (default: you)")->type_name("NAME");
  create->add_option("--note", flags->note, "What for, for people")->type_name("TEXT");

  CLI::App* list = tree.Add(group, "list", "Reservations that have not ended, by their beginning.",
                            {"ballast reservations list"}, [flags](Context& context) { return List(*flags, context); });
  list->add_option("--holder", flags->holder, "Only those of this person")->type_name("NAME");

  CLI::App* end = tree.Add(group, "end", "End a reservation now.", {"ballast reservations end v-0123456789"},
                           [flags](Context& context) { return End(*flags, context); });
  end->add_option("reservation", flags->reservation_id, "The reservation")->type_name("RESERVATION");
  for (CLI::App* command : {create, list, end}) {
    AddOutputFlag(command, &flags->output);
    AddConnectionFlags(command, &flags->connection);
  }
}

}  // namespace ballast::cli
