#include "cli/render/list_fields.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/render/text_value.h"
#include "common/base/clock.h"
#include "common/base/units.h"
#include "common/jobs/variant.h"

namespace ballast::cli {
namespace {

// Seconds from one time to another where both are there.
template <typename Message>
std::string Elapsed(const Message& message) {
  if (!message.has_start_time() || !message.has_end_time()) return {};
  return Seconds(base::ToProto(base::FromProto(message.end_time()) - base::FromProto(message.start_time())));
}

template <typename Message>
std::string ElapsedText(const Message& message) {
  if (!message.has_start_time() || !message.has_end_time()) return "-";
  return base::FormatDuration(base::FromProto(message.end_time()) - base::FromProto(message.start_time()));
}

std::string OutcomeName(const v1::Run& run) {
  return run.has_outcome() ? v1::OutcomeKind_Name(run.outcome().kind()) : "";
}

// The result of the attempt that counts; an empty one where there is none yet.
const v1::RunResult& LastResult(const v1::Run& run) {
  return run.attempts().empty() ? v1::RunResult::default_instance() : run.attempts(run.attempts_size() - 1).result();
}

std::string BytesOrDash(std::uint64_t bytes) {
  return bytes == 0 ? "-" : base::FormatBytes(bytes);
}

std::string WaitReasonsText(const v1::Job& job) {
  std::string text;
  for (const v1::WaitReason& reason : job.wait_reasons()) {
    if (!text.empty()) text += "; ";
    text += fmt::format("{} {}", reason.run_count(), v1::WaitReason::Kind_Name(reason.kind()));
    if (!reason.device_id().empty()) text += " " + reason.device_id();
  }
  return text;
}

// What keeps a device from runs, beside its state.
std::string DeviceNote(const v1::Device& device) {
  std::vector<std::string> notes;
  if (!device.reserved_for().empty()) notes.push_back("reserved for " + device.reserved_for());
  if (device.has_cool_down_until_time())
    notes.push_back("rests until " + LocalTime(true, device.cool_down_until_time()));
  if (device.drained() && device.state() != v1::Device::DRAINING) notes.emplace_back("drained");
  if (device.health().has_quarantine_time()) notes.push_back(device.health().reason());
  return notes.empty() ? "-" : fmt::format("{}", fmt::join(notes, "; "));
}

}  // namespace

std::string WaitText(const v1::Job& job) {
  if (job.wait_reasons().empty()) return "-";
  const v1::WaitReason& first = job.wait_reasons(0);
  std::string text = fmt::format("{}: {}", first.run_count(), first.message());
  if (job.wait_reasons_size() > 1) text += fmt::format(" (and {} more)", job.wait_reasons_size() - 1);
  return text;
}

std::vector<Field<v1::Job>> JobFields() {
  using Job = v1::Job;
  return {
      {"job_id", "JOB", Align::kLeft, [](const Job& j) { return j.job_id(); }},
      {"display_name", "NAME", Align::kLeft, [](const Job& j) { return j.spec().display_name(); }},
      {"workload", "WORKLOAD", Align::kLeft, [](const Job& j) { return WorkloadName(j.spec().workload()); }},
      {"state", "STATE", Align::kLeft, [](const Job& j) { return Job::State_Name(j.state()); }},
      {"run_count", "", Align::kRight, [](const Job& j) { return std::to_string(j.run_count()); }},
      {"ended_run_count", "ENDED", Align::kRight,
       [](const Job& j) { return fmt::format("{}/{}", j.ended_run_count(), j.run_count()); },
       [](const Job& j) { return std::to_string(j.ended_run_count()); }},
      {"expected_run_count", "EXPECTED", Align::kRight,
       [](const Job& j) { return std::to_string(j.expected_run_count()); }},
      {"priority", "", Align::kRight, [](const Job& j) { return std::to_string(j.spec().priority()); }},
      {"submitter", "BY", Align::kLeft, [](const Job& j) { return j.submitter(); }},
      {"create_time", "CREATED", Align::kLeft,
       [](const Job& j) { return LocalTime(j.has_create_time(), j.create_time()); },
       [](const Job& j) { return Rfc3339(j.has_create_time(), j.create_time()); }},
      {"elapsed_seconds", "TIME", Align::kRight, ElapsedText<Job>, Elapsed<Job>},
      {"annotations", "ANNOTATIONS", Align::kLeft, [](const Job& j) { return KeyValues(j.spec().annotations()); }},
      {"schedule_id", "", Align::kLeft, [](const Job& j) { return j.schedule_id(); }},
      {"wait_reasons", "WAITING RUNS", Align::kLeft, WaitText, WaitReasonsText},
  };
}

std::vector<Field<v1::Run>> RunFields() {
  using Run = v1::Run;
  return {
      {"run_id", "RUN", Align::kLeft, [](const Run& r) { return r.run_id(); }},
      {"job_id", "", Align::kLeft, [](const Run& r) { return r.job_id(); }},
      {"device_id", "DEVICE", Align::kLeft, [](const Run& r) { return r.device_id().empty() ? "-" : r.device_id(); },
       [](const Run& r) { return r.device_id(); }},
      {"repetition", "REP", Align::kRight, [](const Run& r) { return std::to_string(r.repetition()); }},
      {"workload_kind", "WORKLOAD", Align::kLeft, [](const Run& r) { return r.workload_kind(); }},
      {"state", "STATE", Align::kLeft, [](const Run& r) { return Run::State_Name(r.state()); }},
      {"outcome", "OUTCOME", Align::kLeft, [](const Run& r) { return r.has_outcome() ? OutcomeName(r) : "-"; },
       OutcomeName},
      {"attempt_count", "", Align::kRight, [](const Run& r) { return std::to_string(r.attempts_size()); }},
      {"peak_held_bytes", "PEAK HELD", Align::kRight,
       [](const Run& r) { return BytesOrDash(LastResult(r).peak_held_bytes()); },
       [](const Run& r) { return std::to_string(LastResult(r).peak_held_bytes()); }},
      {"peak_resident_bytes", "", Align::kRight,
       [](const Run& r) { return std::to_string(LastResult(r).peak_resident_bytes()); }},
      {"create_time", "CREATED", Align::kLeft,
       [](const Run& r) { return LocalTime(r.has_create_time(), r.create_time()); },
       [](const Run& r) { return Rfc3339(r.has_create_time(), r.create_time()); }},
      {"elapsed_seconds", "TIME", Align::kRight, ElapsedText<Run>, Elapsed<Run>},
      {"annotations", "ANNOTATIONS", Align::kLeft, [](const Run& r) { return KeyValues(r.annotations()); }},
      {"variant", "VARIANT", Align::kLeft, [](const Run& r) { return jobs::VariantName(r).empty() ? "-" : jobs::VariantName(r); },
       jobs::VariantName},
      {"matrix_environment", "", Align::kLeft, [](const Run& r) { return r.matrix_environment(); }},
      {"matrix_quant", "", Align::kLeft, [](const Run& r) { return r.matrix_quant(); }},
  };
}

std::vector<Field<v1::Device>> DeviceFields() {
  using Device = v1::Device;
  return {
      {"device_id", "DEVICE", Align::kLeft, [](const Device& d) { return d.device_id(); }},
      {"hostname", "HOST", Align::kLeft, [](const Device& d) { return d.facts().hostname(); }},
      {"state", "STATE", Align::kLeft, [](const Device& d) { return Device::State_Name(d.state()); }},
      {"active_run_id", "RUN", Align::kLeft,
       [](const Device& d) { return d.active_run_id().empty() ? "-" : d.active_run_id(); },
       [](const Device& d) { return d.active_run_id(); }},
      {"memory_bytes", "MEMORY", Align::kRight, [](const Device& d) { return BytesOrDash(d.facts().memory_bytes()); },
       [](const Device& d) { return std::to_string(d.facts().memory_bytes()); }},
      {"limit_bytes", "LIMIT", Align::kRight, [](const Device& d) { return BytesOrDash(d.facts().limit_bytes()); },
       [](const Device& d) { return std::to_string(d.facts().limit_bytes()); }},
      {"swap_bytes", "SWAP", Align::kRight, [](const Device& d) { return BytesOrDash(d.facts().swap_bytes()); },
       [](const Device& d) { return std::to_string(d.facts().swap_bytes()); }},
      {"cpu_count", "CPUS", Align::kRight, [](const Device& d) { return std::to_string(d.facts().cpu_count()); }},
      {"architecture", "ARCH", Align::kLeft, [](const Device& d) { return d.facts().architecture(); }},
      {"kernel_release", "", Align::kLeft, [](const Device& d) { return d.facts().kernel_release(); }},
      {"worker_version", "WORKER", Align::kLeft, [](const Device& d) { return d.facts().worker_version(); }},
      {"last_seen_time", "LAST SEEN", Align::kLeft,
       [](const Device& d) { return LocalTime(d.has_last_seen_time(), d.last_seen_time()); },
       [](const Device& d) { return Rfc3339(d.has_last_seen_time(), d.last_seen_time()); }},
      {"labels", "LABELS", Align::kLeft, [](const Device& d) { return KeyValues(d.labels()); }},
      {"state_time", "SINCE", Align::kLeft,
       [](const Device& d) { return LocalTime(d.has_state_time(), d.state_time()); },
       [](const Device& d) { return Rfc3339(d.has_state_time(), d.state_time()); }},
      {"note", "NOTE", Align::kLeft, DeviceNote, [](const Device& d) { return d.health().reason(); }},
      {"reserved_for", "", Align::kLeft, [](const Device& d) { return d.reserved_for(); }},
      {"cool_down_until_time", "", Align::kLeft,
       [](const Device& d) { return Rfc3339(d.has_cool_down_until_time(), d.cool_down_until_time()); }},
      {"failure_count", "", Align::kRight, [](const Device& d) { return std::to_string(d.health().failure_count()); }},
      {"quarantine_time", "", Align::kLeft,
       [](const Device& d) { return Rfc3339(d.health().has_quarantine_time(), d.health().quarantine_time()); }},
  };
}

std::vector<Field<v1::Reservation>> ReservationFields() {
  using Reservation = v1::Reservation;
  return {
      {"reservation_id", "RESERVATION", Align::kLeft, [](const Reservation& r) { return r.reservation_id(); }},
      {"holder", "HOLDER", Align::kLeft, [](const Reservation& r) { return r.holder(); }},
      {"start_time", "FROM", Align::kLeft, [](const Reservation& r) { return LocalTime(true, r.start_time()); },
       [](const Reservation& r) { return Rfc3339(true, r.start_time()); }},
      {"end_time", "UNTIL", Align::kLeft, [](const Reservation& r) { return LocalTime(true, r.end_time()); },
       [](const Reservation& r) { return Rfc3339(true, r.end_time()); }},
      {"device_ids", "DEVICES", Align::kLeft,
       [](const Reservation& r) { return fmt::format("{}", fmt::join(r.device_ids(), ", ")); },
       [](const Reservation& r) { return fmt::format("{}", fmt::join(r.device_ids(), ";")); }},
      {"note", "NOTE", Align::kLeft, [](const Reservation& r) { return r.note(); }},
  };
}

std::vector<Field<v1::Schedule>> ScheduleFields() {
  using Schedule = v1::Schedule;
  return {
      {"schedule_id", "SCHEDULE", Align::kLeft, [](const Schedule& s) { return s.schedule_id(); }},
      {"cron", "CRON", Align::kLeft, [](const Schedule& s) { return s.cron(); }},
      {"time_zone", "ZONE", Align::kLeft, [](const Schedule& s) { return s.time_zone(); }},
      {"paused", "", Align::kLeft, [](const Schedule& s) { return s.paused() ? "true" : "false"; }},
      {"next_time", "NEXT", Align::kLeft,
       [](const Schedule& s) { return s.paused() ? "paused" : LocalTime(s.has_next_time(), s.next_time()); },
       [](const Schedule& s) { return Rfc3339(s.has_next_time(), s.next_time()); }},
      {"last_time", "LAST", Align::kLeft, [](const Schedule& s) { return LocalTime(s.has_last_time(), s.last_time()); },
       [](const Schedule& s) { return Rfc3339(s.has_last_time(), s.last_time()); }},
      {"last_job_id", "LAST JOB", Align::kLeft, [](const Schedule& s) { return s.last_job_id(); }},
      {"submitter", "BY", Align::kLeft, [](const Schedule& s) { return s.submitter(); }},
      {"last_problem", "PROBLEM", Align::kLeft, [](const Schedule& s) { return s.last_problem(); }},
  };
}

std::vector<Field<v1::AuditEntry>> AuditFields() {
  using Entry = v1::AuditEntry;
  const auto count = [](const Entry& e) { return std::to_string(std::max(e.count(), 1U)); };
  return {
      {"entry_id", "", Align::kRight, [](const Entry& e) { return std::to_string(e.entry_id()); }},
      {"time", "TIME", Align::kLeft, [](const Entry& e) { return LocalTime(e.has_time(), e.time()); },
       [](const Entry& e) { return Rfc3339(e.has_time(), e.time()); }},
      {"name", "NAME", Align::kLeft, [](const Entry& e) { return e.name().empty() ? "-" : e.name(); },
       [](const Entry& e) { return e.name(); }},
      {"role", "ROLE", Align::kLeft,
       [](const Entry& e) { return e.role() == v1::ROLE_UNSPECIFIED ? "-" : v1::Role_Name(e.role()); },
       [](const Entry& e) { return e.role() == v1::ROLE_UNSPECIFIED ? "" : v1::Role_Name(e.role()); }},
      {"serial", "", Align::kLeft, [](const Entry& e) { return e.serial(); }},
      {"peer", "FROM", Align::kLeft, [](const Entry& e) { return e.peer(); }},
      {"action", "ACTION", Align::kLeft, [](const Entry& e) { return e.action(); }},
      {"subject", "SUBJECT", Align::kLeft, [](const Entry& e) { return e.subject(); }},
      {"code", "ANSWER", Align::kLeft, [](const Entry& e) { return e.code(); }},
      {"count", "TIMES", Align::kRight, count},
      {"message", "MESSAGE", Align::kLeft, [](const Entry& e) { return e.message().empty() ? e.detail() : e.message(); },
       [](const Entry& e) { return e.message(); }},
      {"detail", "", Align::kLeft, [](const Entry& e) { return e.detail(); }},
  };
}

std::vector<Field<v1::ModelEntry>> ModelEntryFields() {
  using Entry = v1::ModelEntry;
  return {
      {"model_id", "MODEL", Align::kLeft, [](const Entry& e) { return e.model_id(); }},
      {"quant", "LEVEL", Align::kLeft, [](const Entry& e) { return e.quant(); }},
      {"file_bytes", "SIZE", Align::kRight, [](const Entry& e) { return BytesOrDash(e.model().file_bytes()); },
       [](const Entry& e) { return std::to_string(e.model().file_bytes()); }},
      {"weight_bytes", "", Align::kRight, [](const Entry& e) { return std::to_string(e.model().weight_bytes()); }},
      {"parameter_count", "", Align::kRight,
       [](const Entry& e) { return std::to_string(e.model().parameter_count()); }},
      {"source", "SOURCE", Align::kLeft, [](const Entry& e) { return e.problem().empty() ? e.source() : "unusable"; },
       [](const Entry& e) { return e.source(); }},
      {"path", "", Align::kLeft, [](const Entry& e) { return e.path(); }},
      {"sha256", "", Align::kLeft, [](const Entry& e) { return e.sha256(); }},
      {"problem", "", Align::kLeft, [](const Entry& e) { return e.problem(); }},
      {"description", "DESCRIPTION", Align::kLeft, [](const Entry& e) { return e.description(); }},
  };
}

std::vector<Field<v1::Certificate>> CertificateFields() {
  using Certificate = v1::Certificate;
  return {
      {"serial", "SERIAL", Align::kLeft, [](const Certificate& c) { return c.serial(); }},
      {"role", "ROLE", Align::kLeft, [](const Certificate& c) { return v1::Role_Name(c.role()); }},
      {"name", "NAME", Align::kLeft, [](const Certificate& c) { return c.name(); }},
      {"create_time", "ISSUED", Align::kLeft,
       [](const Certificate& c) { return LocalTime(c.has_create_time(), c.create_time()); },
       [](const Certificate& c) { return Rfc3339(c.has_create_time(), c.create_time()); }},
      {"expire_time", "EXPIRES", Align::kLeft,
       [](const Certificate& c) { return LocalTime(c.has_expire_time(), c.expire_time()); },
       [](const Certificate& c) { return Rfc3339(c.has_expire_time(), c.expire_time()); }},
      {"revoke_time", "REVOKED", Align::kLeft,
       [](const Certificate& c) { return LocalTime(c.has_revoke_time(), c.revoke_time()); },
       [](const Certificate& c) { return Rfc3339(c.has_revoke_time(), c.revoke_time()); }},
      {"revoke_reason", "REASON", Align::kLeft, [](const Certificate& c) { return c.revoke_reason(); }},
      {"renews_serial", "", Align::kLeft, [](const Certificate& c) { return c.renews_serial(); }},
  };
}

}  // namespace ballast::cli
