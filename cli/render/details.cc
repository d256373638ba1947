#include "cli/render/details.h"

#include <algorithm>

#include <fmt/format.h>

#include "cli/render/command_tables.h"
#include "cli/render/environment_fields.h"
#include "cli/render/last_seconds.h"
#include "cli/render/text_value.h"
#include "cli/render/text_width.h"
#include "common/base/clock.h"
#include "common/base/units.h"
#include "common/config/yaml.h"
#include "common/jobs/variant.h"

namespace ballast::cli {
namespace {

constexpr int kNameColumns = 18;

// Collects lines; those with nothing to say are left out.
class Lines {
 public:
  void Add(const std::string& name, const std::string& value) {
    if (!value.empty()) text_ += fmt::format("{:<{}} {}\n", name + ":", kNameColumns, Printable(value));
  }
  void Heading(const std::string& name) { text_ += name + ":\n"; }
  void Item(const std::string& value) { text_ += fmt::format("  {}\n", Printable(value)); }
  // Several lines, each an item.
  void Block(const std::string& lines) {
    for (std::size_t begin = 0; begin < lines.size();) {
      const std::size_t end = std::min(lines.find('\n', begin), lines.size());
      Item(lines.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  [[nodiscard]] std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

std::string DurationText(const google::protobuf::Duration& duration) {
  return base::FormatDuration(base::FromProto(duration));
}

std::string PhaseText(const v1::Phase& phase) {
  std::string text =
      fmt::format("{:<9} {} to {}", v1::Phase::Kind_Name(phase.kind()), DurationText(phase.start_offset()),
                  phase.has_end_offset() ? DurationText(phase.end_offset()) : "?");
  if (phase.target_bytes() > 0) {
    text += fmt::format(", target {}", base::FormatBytes(phase.target_bytes()));
  } else if (phase.has_target_psi()) {
    text += ", target " + StallText(phase.target_psi());
  } else if (phase.target_percent() > 0) {
    text += fmt::format(", target {}", Percent(phase.target_percent()));
  }
  const v1::HoldQuality& quality = phase.hold_quality();
  if (quality.sample_count() == 0) return text;
  text += fmt::format(", {} to {}", Percent(quality.min_percent()), Percent(quality.max_percent()));
  if (!phase.has_target_psi()) {
    text += fmt::format(", {} of {} samples within 1 point", quality.within_one_point_count(), quality.sample_count());
  }
  if (quality.max_held_bytes() > 0) {
    text += fmt::format(", held {} to {}, {} on average", base::FormatBytes(quality.min_held_bytes()),
                        base::FormatBytes(quality.max_held_bytes()), base::FormatBytes(quality.mean_held_bytes()));
  }
  if (const v1::StallQuality& stall = quality.stall(); stall.sample_count() > 0) {
    text += fmt::format(", stall {} to {}, {} on average, {} of {} samples within 5 points",
                        Percent(stall.min_percent()), Percent(stall.max_percent()), Percent(stall.mean_percent()),
                        stall.within_five_points_count(), stall.sample_count());
  }
  return text;
}

// A reading of the guard in the unit of its signal.
std::string ReadingText(v1::GuardAct::Signal signal, double value) {
  switch (signal) {
    case v1::GuardAct::AVAILABLE_MEMORY:
      return FigureText("available_bytes", value);
    case v1::GuardAct::PSI_FULL:
      return Percent(value);
    case v1::GuardAct::SWAP_IN_RATE:
    case v1::GuardAct::REFAULT_RATE:
      return FigureText("bytes_per_second", value);
    case v1::GuardAct::AGENT_DELAY:
      return Number(value) + " ms";
    default:
      return Number(value);
  }
}

std::string GuardActText(const v1::GuardAct& act) {
  std::string text = fmt::format("at {:>8}  {:<13} {} {} ({})", DurationText(act.offset()),
                                 v1::GuardAct::Action_Name(act.action()), v1::GuardAct::Signal_Name(act.signal()),
                                 ReadingText(act.signal(), act.value()), ReadingText(act.signal(), act.threshold()));
  if (act.has_reaction()) text += ", memory given back after " + DurationText(act.reaction());
  return text;
}

void AddGuardActs(const v1::RunResult& result, Lines* lines) {
  if (result.guard_acts().empty()) return;
  lines->Heading("guard (threshold)");
  for (const v1::GuardAct& act : result.guard_acts()) lines->Item(GuardActText(act));
}

void AddValidity(const v1::RunResult& result, Lines* lines) {
  if (!result.has_validity()) return;
  lines->Add("valid", result.validity().valid() ? "yes" : "no");
  for (const v1::ValidityRemark& remark : result.validity().remarks()) {
    lines->Item(remark.disqualifies() ? remark.message() + ": invalid" : remark.message());
  }
}

void AddObserverCost(const v1::RunResult& result, Lines* lines) {
  if (!result.has_observer_cost()) return;
  const v1::ObserverCost& cost = result.observer_cost();
  std::string text = DurationText(cost.cpu_time()) + " of processor time";
  if (cost.pss_bytes() > 0) text += fmt::format(", {} of memory", base::FormatBytes(cost.pss_bytes()));
  lines->Add("observer's cost", fmt::format("{}, {} minor and {} major faults, {} written", text, cost.minor_faults(),
                                            cost.major_faults(), base::FormatBytes(cost.written_bytes())));
}

// What becomes of the self-tests of a device in quarantine. A job that was submitted for one may wait yet.
std::string SelfTestText(const v1::Device& device) {
  const v1::DeviceHealth& health = device.health();
  if (!health.has_next_check_time()) {
    return health.check_job_id().empty() ? "none" : fmt::format("job {} is under way", health.check_job_id());
  }
  return device.drained() ? "none while the device is drained"
                          : fmt::format("next {}", LocalTime(true, health.next_check_time()));
}

void AddHealth(const v1::Device& device, Lines* lines) {
  const v1::DeviceHealth& health = device.health();
  if (health.failure_count() > 0) lines->Add("failures in a row", std::to_string(health.failure_count()));
  if (!health.has_quarantine_time()) return;
  lines->Add("in quarantine", fmt::format("since {}: {}", LocalTime(true, health.quarantine_time()), health.reason()));
  std::string tests = SelfTestText(device);
  if (health.failed_check_count() > 0) tests += fmt::format(", {} failed", health.failed_check_count());
  lines->Add("self-tests", tests);
}

void AddList(const std::string& heading, const google::protobuf::RepeatedPtrField<std::string>& items, Lines* lines) {
  if (items.empty()) return;
  lines->Heading(heading);
  for (const std::string& item : items) lines->Item(item);
}

std::string SignalText(const v1::Evidence& evidence) {
  if (!evidence.has_signal_sender()) return std::to_string(evidence.signal());
  const v1::SignalSender& sender = evidence.signal_sender();
  return fmt::format("{}, sent by process {}{}", evidence.signal(), sender.pid(),
                     sender.command().empty() ? "" : fmt::format(" ({})", sender.command()));
}

void AddEvidence(const v1::Evidence& evidence, Lines* lines) {
  if (evidence.killer() != v1::KILLER_UNSPECIFIED) lines->Add("killed by", v1::Killer_Name(evidence.killer()));
  if (evidence.held_bytes() > 0) lines->Add("held at the end", base::FormatBytes(evidence.held_bytes()));
  if (evidence.signal() != 0) lines->Add("signal", SignalText(evidence));
  if (evidence.cgroup_oom_count() > 0) {
    lines->Add("cgroup OOMs", fmt::format("{}, innermost {}", evidence.cgroup_oom_count(), evidence.oom_cgroup()));
  }
  if (evidence.global_oom_kill_count() > 0 || evidence.cgroup_oom_kill_count() > 0) {
    lines->Add("OOM kills", fmt::format("{} on the machine, {} in the cgroup", evidence.global_oom_kill_count(),
                                        evidence.cgroup_oom_kill_count()));
  }
  lines->Add("OOM daemons", fmt::format("{}", fmt::join(evidence.oom_daemons(), ", ")));
  AddList("findings", evidence.findings(), lines);
}

void AddTail(const std::string& name, const std::string& tail, std::uint64_t bytes, Lines* lines) {
  if (bytes == 0) return;
  lines->Heading(tail.size() < bytes ? fmt::format("{} (the end of {})", name, base::FormatBytes(bytes)) : name);
  for (const std::string& line : TailLines(tail)) lines->Item(line);
}

void AddCommands(const v1::RunResult& result, Lines* lines) {
  if (result.commands().empty()) return;
  lines->Heading("executions");
  for (const v1::CommandResult& command : result.commands()) lines->Item(ExecutionText(command));
  for (const v1::CommandResult& command : result.commands()) {
    AddTail(fmt::format("standard output of execution {}", command.index()), command.output_tail(),
            command.output_bytes(), lines);
    AddTail(fmt::format("standard error of execution {}", command.index()), command.error_tail(), command.error_bytes(),
            lines);
  }
}

void AddResult(const v1::RunResult& result, Lines* lines) {
  if (result.peak_held_bytes() > 0) lines->Add("peak held", base::FormatBytes(result.peak_held_bytes()));
  if (result.peak_resident_bytes() > 0) lines->Add("peak resident", base::FormatBytes(result.peak_resident_bytes()));
  if (result.has_time_to_target()) lines->Add("time to target", DurationText(result.time_to_target()));
  if (result.fill_bytes_per_second() > 0)
    lines->Add("fill rate", FigureText("fill_bytes_per_second", result.fill_bytes_per_second()));
  if (result.limit_bytes() > 0)
    lines->Add("limit", fmt::format("{} ({})", base::FormatBytes(result.limit_bytes()), result.limit_source()));
  if (const v1::AppliedEnvironment& environment = result.environment(); !environment.profile_name().empty()) {
    lines->Add("environment", AppliedText(environment));
    AddList("not as the profile says", environment.remarks(), lines);
  }
  lines->Add("samples", fmt::format("{}, {} missed", result.sample_count(), result.missed_sample_count()));
  if (result.max_lag_bytes() > 0) lines->Add("largest lag", base::FormatBytes(result.max_lag_bytes()));
  AddObserverCost(result, lines);
  AddValidity(result, lines);
  AddGuardActs(result, lines);
  AddCommands(result, lines);
  if (!result.phases().empty()) {
    lines->Heading("phases");
    for (const v1::Phase& phase : result.phases()) lines->Item(PhaseText(phase));
  }
  if (!result.steps().empty()) {
    lines->Heading("steps");
    for (const v1::Step& step : result.steps()) {
      lines->Item(fmt::format("{:>3}  at {:>8}  +{} resident  {} held", step.index(), DurationText(step.offset()),
                              FigureText("resident_bytes", static_cast<double>(step.resident_delta_bytes())),
                              base::FormatBytes(step.held_bytes())));
    }
  }
}

}  // namespace

std::string JobDetails(const v1::Job& job) {
  Lines lines;
  lines.Add("job", job.job_id());
  lines.Add("name", job.spec().display_name());
  lines.Add("state", v1::Job::State_Name(job.state()) +
                         (job.cancel_requested() && job.state() == v1::Job::RUNNING ? ", being cancelled" : ""));
  lines.Add("runs", fmt::format("{} of {} ended, {} as expected", job.ended_run_count(), job.run_count(),
                                job.expected_run_count()));
  lines.Add("submitter", job.submitter());
  lines.Add("created", LocalTime(job.has_create_time(), job.create_time()));
  lines.Add("started", LocalTime(job.has_start_time(), job.start_time()));
  lines.Add("ended", LocalTime(job.has_end_time(), job.end_time()));
  lines.Add("schedule", job.schedule_id());
  if (!job.health_check_device_id().empty()) lines.Add("self-test of", job.health_check_device_id());
  if (!job.wait_reasons().empty()) lines.Heading("waiting runs");
  for (const v1::WaitReason& reason : job.wait_reasons())
    lines.Item(fmt::format("{}: {}", reason.run_count(), reason.message()));
  lines.Heading("specification");
  lines.Block(config::WriteYaml(job.spec()));
  return lines.Take();
}

std::string ScheduleDetails(const v1::Schedule& schedule) {
  Lines lines;
  lines.Add("schedule", schedule.schedule_id());
  lines.Add("cron", fmt::format("{} ({})", schedule.cron(), schedule.time_zone()));
  lines.Add("state", schedule.paused() ? "paused" : "active");
  lines.Add("next", LocalTime(schedule.has_next_time(), schedule.next_time()));
  lines.Add("last", LocalTime(schedule.has_last_time(), schedule.last_time()));
  lines.Add("last job", schedule.last_job_id());
  lines.Add("problem", schedule.last_problem());
  lines.Add("catch-up", DurationText(schedule.catch_up()));
  lines.Add("overlap", schedule.allow_overlap() ? "allowed" : "skipped");
  lines.Add("submitter", schedule.submitter());
  lines.Heading("job");
  lines.Block(config::WriteYaml(schedule.job()));
  return lines.Take();
}

std::string RunDetails(const v1::Run& run) {
  Lines lines;
  lines.Add("run", run.run_id());
  lines.Add("job", run.job_id());
  lines.Add("device", run.device_id());
  lines.Add("repetition", std::to_string(run.repetition()));
  lines.Add("matrix", jobs::VariantName(run));
  lines.Add("workload", run.workload_kind());
  lines.Add("state", v1::Run::State_Name(run.state()));
  if (run.has_outcome()) {
    lines.Add("outcome", v1::OutcomeKind_Name(run.outcome().kind()));
    lines.Add("cause", run.outcome().message());
    AddEvidence(run.outcome().evidence(), &lines);
    // The run's own outcome leaves it out.
    if (run.attempts_size() > 0) {
      const v1::Evidence& evidence = run.attempts(run.attempts_size() - 1).result().outcome().evidence();
      if (const std::string table = LastSecondsTable(evidence.last_samples()); !table.empty()) {
        lines.Heading("last seconds");
        lines.Block(table);
      }
      AddList("kernel log", evidence.kernel_log(), &lines);
    }
  }
  lines.Add("annotations", KeyValues(run.annotations()));
  lines.Add("created", LocalTime(run.has_create_time(), run.create_time()));
  lines.Add("started", LocalTime(run.has_start_time(), run.start_time()));
  lines.Add("ended", LocalTime(run.has_end_time(), run.end_time()));
  for (const v1::Attempt& attempt : run.attempts()) {
    if (run.attempts_size() > 1) {
      lines.Heading(fmt::format("attempt {}", attempt.attempt()));
      if (attempt.has_result())
        lines.Item(fmt::format("{} {}", v1::OutcomeKind_Name(attempt.result().outcome().kind()),
                               attempt.result().outcome().message()));
    }
    if (attempt.has_result()) AddResult(attempt.result(), &lines);
  }
  if (run.has_samples_thinned_time()) {
    lines.Add("samples", "thinned to summaries " + LocalTime(true, run.samples_thinned_time()));
  }
  if (!run.late_results().empty()) lines.Add("late results", std::to_string(run.late_results_size()));
  return lines.Take();
}

std::string DeviceDetails(const v1::Device& device) {
  Lines lines;
  const v1::DeviceFacts& facts = device.facts();
  lines.Add("device", device.device_id());
  lines.Add("host", facts.hostname());
  lines.Add("state", v1::Device::State_Name(device.state()) +
                         (device.drained() && device.state() != v1::Device::DRAINING ? ", drained" : ""));
  lines.Add("since", LocalTime(device.has_state_time(), device.state_time()));
  lines.Add("run", device.active_run_id());
  lines.Add("records", device.storage_problem().empty() ? "" : "not on its disk: " + device.storage_problem());
  lines.Add("reserved for", device.reserved_for());
  lines.Add("rests until", LocalTime(device.has_cool_down_until_time(), device.cool_down_until_time()));
  AddHealth(device, &lines);
  lines.Add("labels", KeyValues(device.labels()));
  lines.Add("memory", base::FormatBytes(facts.memory_bytes()));
  lines.Add("limit", fmt::format("{} ({})", base::FormatBytes(facts.limit_bytes()), facts.limit_source()));
  lines.Add("swap", fmt::format("{}, of that zram {}", base::FormatBytes(facts.swap_bytes()),
                                base::FormatBytes(facts.zram_bytes())));
  lines.Add("processor", fmt::format("{} × {} ({})", facts.cpu_count(), facts.cpu_model(), facts.architecture()));
  lines.Add("governor", facts.cpu_governor());
  lines.Add("system", fmt::format("{}, kernel {}", facts.os_name(), facts.kernel_release()));
  lines.Add("memory cgroup", facts.cgroup_version() == 0 ? "none" : fmt::format("version {}", facts.cgroup_version()));
  lines.Add("OOM daemons", fmt::format("{}", fmt::join(facts.oom_daemons(), ", ")));
  std::string capabilities;
  for (const int capability : facts.capabilities()) {
    capabilities += fmt::format("{}{}", capabilities.empty() ? "" : ", ",
                                v1::Capability_Name(static_cast<v1::Capability>(capability)));
  }
  lines.Add("can do", capabilities);
  lines.Add("commands", fmt::format("{}", fmt::join(facts.command_ids(), ", ")));
  lines.Add("worker", facts.worker_version());
  lines.Add("first seen", LocalTime(device.has_create_time(), device.create_time()));
  lines.Add("last seen", LocalTime(device.has_last_seen_time(), device.last_seen_time()));
  if (!facts.limitations().empty()) {
    lines.Heading("limitations");
    for (const std::string& limitation : facts.limitations()) lines.Item(limitation);
  }
  return lines.Take();
}

}  // namespace ballast::cli
