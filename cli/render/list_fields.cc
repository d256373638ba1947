#include "cli/render/list_fields.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "cli/render/text_value.h"
#include "common/base/clock.h"
#include "common/base/units.h"

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

}  // namespace

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
      {"submitter", "", Align::kLeft, [](const Job& j) { return j.submitter(); }},
      {"create_time", "CREATED", Align::kLeft,
       [](const Job& j) { return LocalTime(j.has_create_time(), j.create_time()); },
       [](const Job& j) { return Rfc3339(j.has_create_time(), j.create_time()); }},
      {"elapsed_seconds", "TIME", Align::kRight, ElapsedText<Job>, Elapsed<Job>},
      {"annotations", "ANNOTATIONS", Align::kLeft, [](const Job& j) { return KeyValues(j.spec().annotations()); }},
  };
}

std::vector<Field<v1::Run>> RunFields() {
  using Run = v1::Run;
  return {
      {"run_id", "RUN", Align::kLeft, [](const Run& r) { return r.run_id(); }},
      {"job_id", "", Align::kLeft, [](const Run& r) { return r.job_id(); }},
      {"device_id", "DEVICE", Align::kLeft, [](const Run& r) { return r.device_id(); }},
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

}  // namespace ballast::cli
