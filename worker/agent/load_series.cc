#include "worker/agent/load_series.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/base/units.h"

namespace ballast::agent {
namespace {

using metrics::MetricId;
using std::chrono::nanoseconds;

// Samples and kernel log of more failed loads than this would make the result too large for one message.
constexpr int kMostEvidence = 20;
// As would more loads than these at all; of a soak, each is in its cycle as well.
constexpr std::size_t kMostLoads = 10'000;
constexpr std::ptrdiff_t kMostDraftLoads = 1'000;

std::uint64_t At(const metrics::SampleRow& row, MetricId id) {
  const std::int64_t value = row[metrics::IndexOf(id)];
  return value == metrics::kAbsent || value < 0 ? 0 : static_cast<std::uint64_t>(value);
}

v1::Outcome OutcomeOf(v1::OutcomeKind kind, std::string message) {
  v1::Outcome outcome;
  outcome.set_kind(kind);
  outcome.set_message(std::move(message));
  return outcome;
}

}  // namespace

LoadSeries::LoadSeries(const RunExecutorOptions& options, const v1::JobSpec& spec, const ModelPreparation* models,
                       RunRecord* record)
    : options_(options), spec_(spec), load_(*LoadOf(spec.workload())), models_(models), record_(record) {}

void LoadSeries::Add(const std::vector<PlannedLoad>& loads, std::uint32_t cycle) {
  for (const PlannedLoad& load : loads) left_.push_back({load, cycle});
  planned_ += static_cast<std::uint32_t>(loads.size());
}

std::array<pollfd, 3> LoadSeries::Polled() const {
  if (runner_) return runner_->Polled();
  return {{{-1, 0, 0}, {-1, 0, 0}, {-1, 0, 0}}};
}

std::optional<nanoseconds> LoadSeries::deadline() const {
  if (!runner_) return std::nullopt;
  std::optional<nanoseconds> next = runner_->deadline();
  if (timeout_at_ && !runner_->asked()) next = std::min(next.value_or(*timeout_at_), *timeout_at_);
  return next;
}

void LoadSeries::Follow(WatchedRunner* pressure) {
  while (!runner_ && !left_.empty()) Begin(pressure);
  if (!runner_) return;
  WatchedRunner::News news;
  runner_->Follow(record_->Elapsed(), &news);
  for (const v1::RunnerReport& report : news.reports) AddReport(report);
  for (const v1::Event& event : news.guard_events) record_->AddEvent(event);
  if (runner_->ended()) {
    Conclude(pressure);
    return;
  }
  if (timeout_at_ && record_->Elapsed() >= *timeout_at_ && !runner_->asked()) {
    runner_->RequestEnd({v1::TIMED_OUT, fmt::format("the load took longer than its limit of {}",
                                                    base::FormatDuration(base::FromProto(load_.timeout())))},
                        record_->Elapsed());
  }
}

void LoadSeries::Begin(WatchedRunner* pressure) {
  const Left next = left_.front();
  left_.pop_front();
  const v1::ResolvedModel& model = models_->models()[static_cast<std::size_t>(next.load.model)];
  result_.Clear();
  result_.set_index(ended_count_ + 1);
  result_.set_model_id(model.model_id());
  result_.set_quant(model.quant());
  result_.set_repetition(next.cycle > 0 ? next.cycle : next.load.repetition);
  result_.set_cycle(next.cycle);
  result_.set_loader(load_.loader());
  result_.set_runtime(load_.runtime());
  result_.set_lock(load_.lock());
  result_.set_asked_cache(load_.cache());
  *result_.mutable_start_offset() = base::ToProto(record_->Elapsed());

  const absl::StatusOr<ReadyModel>& ready = models_->ready(next.load.model);
  if (!ready.ok()) {
    Keep(OutcomeOf(v1::LOAD_FAILED, std::string(ready.status().message())));
    return;
  }
  result_.set_file_source(ready->file_source);
  result_.set_file_bytes(ready->description.file_bytes());
  result_.set_weight_bytes(ready->description.weight_bytes());
  *result_.mutable_estimate() = ready->estimate;
  if (pressure != nullptr) pressure->SuspendGuard();
  if (const absl::Status status = StartRunner(*ready); !status.ok()) {
    runner_.reset();
    environment_.reset();
    if (pressure != nullptr) pressure->ResumeGuard();
    Keep(OutcomeOf(v1::WORKER_CRASHED,
                   fmt::format("the runner could not be started: {}", std::string(status.message()))));
  }
}

absl::Status LoadSeries::StartRunner(const ReadyModel& model) {
  environment_.emplace(environment::RunEnvironment::Create(options_.cgroup_home, options_.root));
  BALLAST_ASSIGN_OR_RETURN(
      runner_, WatchedRunner::Prepare(options_, spec_, record_->start(), RunnerRole::kLoad, &*environment_));
  v1::RunnerStart start;
  start.set_start_monotonic_ns(record_->start().count());
  start.set_scratch_dir(options_.scratch_dir);
  v1::LoadTask* const task = start.mutable_load();
  *task->mutable_load() = load_;
  for (const std::filesystem::path& path : model.paths) task->add_paths(path.string());
  task->set_index(result_.index());
  if (load_.runtime() == v1::ModelLoad::LLAMA_CPP) task->set_runtime_program(options_.llama_server);
  BALLAST_RETURN_IF_ERROR(runner_->Start(start));
  record_->WatchLoad({runner_->pid()});
  timeout_at_ = record_->Elapsed() + base::FromProto(load_.timeout());
  return absl::OkStatus();
}

void LoadSeries::AddReport(const v1::RunnerReport& report) {
  switch (report.content_case()) {
    case v1::RunnerReport::kPhase: {
      v1::RunnerReport numbered = report;
      numbered.mutable_phase()->set_load_index(result_.index());
      record_->AddReport(numbered);
      break;
    }
    case v1::RunnerReport::kEvent:
      record_->AddEvent(report.event());
      break;
    case v1::RunnerReport::kLoadStage:
      *result_.add_stages() = report.load_stage();
      if (const v1::MemoryFootprint& footprint = report.load_stage().footprint(); footprint.resident_bytes() > 0) {
        result_.set_peak_resident_bytes(std::max(result_.peak_resident_bytes(), footprint.resident_bytes()));
        result_.set_peak_anon_bytes(std::max(result_.peak_anon_bytes(), footprint.anon_bytes()));
        result_.set_peak_file_bytes(std::max(result_.peak_file_bytes(), footprint.file_bytes()));
      }
      break;
    case v1::RunnerReport::kState:
      if (report.state().runtime_pid() > 0) record_->WatchLoad({runner_->pid(), report.state().runtime_pid()});
      break;
    case v1::RunnerReport::kFinished:
      // What only the process that loads knows, on top of what is known here.
      result_.MergeFrom(report.finished().load());
      break;
    default:
      break;
  }
}

void LoadSeries::AddSample() {
  if (!runner_) return;
  const metrics::SampleRow& row = record_->row();
  result_.set_peak_resident_bytes(std::max(result_.peak_resident_bytes(), At(row, MetricId::kLoadResidentBytes)));
  result_.set_peak_anon_bytes(std::max(result_.peak_anon_bytes(), At(row, MetricId::kLoadAnonBytes)));
  result_.set_peak_file_bytes(std::max(result_.peak_file_bytes(), At(row, MetricId::kLoadFileBytes)));
  result_.set_minor_faults(std::max(result_.minor_faults(), At(row, MetricId::kLoadMinorFaultsTotal)));
  result_.set_major_faults(std::max(result_.major_faults(), At(row, MetricId::kLoadMajorFaultsTotal)));
  result_.set_disk_read_bytes(std::max(result_.disk_read_bytes(), At(row, MetricId::kLoadReadBytesTotal)));
}

void LoadSeries::RequestEnd(const AskedEnd& asked) {
  left_.clear();
  if (runner_) runner_->RequestEnd(asked, record_->Elapsed());
}

void LoadSeries::Conclude(WatchedRunner* pressure) {
  record_->TakeSample();  // after the end: the counts of OOM kills have the runner's in them
  v1::Outcome outcome = runner_->Conclude(result_.peak_resident_bytes(), record_->history());
  v1::RunResult acts;
  runner_->FillGuardActs(&acts);
  for (const v1::GuardAct& act : acts.guard_acts()) guard_acts_.push_back(act);
  runner_.reset();
  environment_.reset();
  timeout_at_.reset();
  record_->WatchLoad({});
  record_->EndLoadPhase();
  if (pressure != nullptr) pressure->ResumeGuard();
  *result_.mutable_end_offset() = base::ToProto(record_->Elapsed());
  // The stages add up to what the process counted itself, which the last sample may have missed.
  std::uint64_t minor = 0;
  std::uint64_t major = 0;
  std::uint64_t read = 0;
  for (const v1::LoadStage& stage : result_.stages()) {
    minor += stage.minor_faults();
    major += stage.major_faults();
    read += stage.disk_read_bytes();
  }
  result_.set_minor_faults(std::max(result_.minor_faults(), minor));
  result_.set_major_faults(std::max(result_.major_faults(), major));
  result_.set_disk_read_bytes(std::max(result_.disk_read_bytes(), read));
  Keep(std::move(outcome));
}

void LoadSeries::Keep(v1::Outcome outcome) {
  v1::Event event;
  *event.mutable_offset() = base::ToProto(record_->Elapsed());
  if (outcome.kind() == v1::OOM_KILLED) {
    event.set_kind(v1::Event::OOM_KILL);
    event.set_message(outcome.message());
    record_->AddEvent(event);
  }
  event.set_kind(v1::Event::LOAD_ENDED);
  event.set_message(fmt::format("load {} of {} at {}: {}: {}", result_.index(), result_.model_id(), result_.quant(),
                                v1::OutcomeKind_Name(outcome.kind()), outcome.message()));
  event.set_value(result_.index());
  record_->AddEvent(event);
  spdlog::info("{}", event.message());
  if (outcome.kind() != v1::COMPLETED && ++kept_evidence_ > kMostEvidence) {
    outcome.mutable_evidence()->clear_last_samples();
    outcome.mutable_evidence()->clear_kernel_log();
  }
  *result_.mutable_outcome() = std::move(outcome);
  ++ended_count_;
  last_ = result_;
  if (results_.size() < kMostLoads) results_.push_back(result_);
}

void LoadSeries::Fill(bool draft, v1::RunResult* result) const {
  auto first = results_.begin();
  if (draft) first = results_.end() - std::min(std::ssize(results_), kMostDraftLoads);
  for (const v1::ModelLoadResult& load : std::ranges::subrange(first, results_.end())) {
    v1::ModelLoadResult* const kept = result->add_loads();
    *kept = load;
    if (!draft) continue;
    kept->mutable_outcome()->mutable_evidence()->clear_last_samples();
    kept->mutable_outcome()->mutable_evidence()->clear_kernel_log();
  }
  if (draft && runner_) *result->add_loads() = result_;
  for (const v1::GuardAct& act : guard_acts_) *result->add_guard_acts() = act;
}

}  // namespace ballast::agent
