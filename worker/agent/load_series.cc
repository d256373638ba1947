#include "worker/agent/load_series.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/gguf/memory_estimate.h"

namespace ballast::agent {
namespace {

using metrics::MetricId;

// More loads than these would make the result too large for one message; of a soak, each is in its cycle as well.
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
                       const environment::LimitedGroup* limits, RunRecord* record)
    : RunnerSeries(options, spec, limits, record, RunnerRole::kLoad),
      load_(*LoadOf(spec.workload())),
      models_(models) {}

void LoadSeries::Add(const std::vector<PlannedLoad>& loads, std::uint32_t cycle) {
  for (const PlannedLoad& load : loads) left_.push_back({load, cycle});
  planned_ += static_cast<std::uint32_t>(loads.size());
}

std::optional<v1::RunnerStart> LoadSeries::TakeNext() {
  const Left next = left_.front();
  left_.pop_front();
  const v1::ResolvedModel& model = models_->models()[static_cast<std::size_t>(next.load.model)];
  result_.Clear();
  begin_.reset();
  model_ = next.load.model;
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
    return std::nullopt;
  }
  result_.set_file_source(ready->file_source);
  result_.set_file_bytes(ready->description.file_bytes());
  result_.set_weight_bytes(ready->description.weight_bytes());
  *result_.mutable_estimate() = ready->estimate;
  v1::RunnerStart start;
  v1::LoadTask* const task = start.mutable_load();
  *task->mutable_load() = load_;
  for (const std::filesystem::path& path : ready->paths) task->add_paths(path.string());
  task->set_index(result_.index());
  if (load_.runtime() == v1::ModelLoad::LLAMA_CPP) task->set_runtime_program(options_.llama_server);
  return start;
}

std::chrono::nanoseconds LoadSeries::Timeout() const {
  return base::FromProto(load_.timeout());
}

void LoadSeries::OnReport(const v1::RunnerReport& report) {
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
    case v1::RunnerReport::kLoadBegin:
      begin_ = report.load_begin();
      if (const absl::StatusOr<ReadyModel>& ready = models_->ready(model_); ready.ok()) {
        *result_.mutable_estimate() = gguf::EstimateMemory(ready->description, load_, begin_->resident_bytes());
      }
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
      if (report.state().runtime_pid() > 0) record_->WatchLoad({runner()->pid(), report.state().runtime_pid()});
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
  if (idle()) return;
  const metrics::SampleRow& row = record_->row();
  result_.set_peak_resident_bytes(std::max(result_.peak_resident_bytes(), At(row, MetricId::kLoadResidentBytes)));
  result_.set_peak_anon_bytes(std::max(result_.peak_anon_bytes(), At(row, MetricId::kLoadAnonBytes)));
  result_.set_peak_file_bytes(std::max(result_.peak_file_bytes(), At(row, MetricId::kLoadFileBytes)));
  // The process's own counts begin with its preparation, which may have read the whole file.
  if (!begin_.has_value()) return;
  const auto since_begin = [&row](MetricId id, std::uint64_t before) {
    const std::uint64_t total = At(row, id);
    return total - std::min(total, before);
  };
  result_.set_minor_faults(
      std::max(result_.minor_faults(), since_begin(MetricId::kLoadMinorFaultsTotal, begin_->minor_faults())));
  result_.set_major_faults(
      std::max(result_.major_faults(), since_begin(MetricId::kLoadMajorFaultsTotal, begin_->major_faults())));
  result_.set_disk_read_bytes(
      std::max(result_.disk_read_bytes(), since_begin(MetricId::kLoadReadBytesTotal, begin_->disk_read_bytes())));
}

void LoadSeries::OnExit() {
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
  *result_.mutable_end_offset() = base::ToProto(record_->Elapsed());
}

void LoadSeries::Keep(v1::Outcome outcome) {
  TellEnd(v1::Event::LOAD_ENDED,
          fmt::format("load {} of {} at {}", result_.index(), result_.model_id(), result_.quant()), result_.index(),
          &outcome);
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
    if (draft) SlimEvidence(kept->mutable_outcome());
  }
  if (draft && !idle()) *result->add_loads() = result_;
  FillGuardActs(result);
}

void LoadSeries::FillProgress(bool soak, v1::RunProgress* progress) const {
  if (!soak) progress->set_load_count(planned_);
  if (idle()) return;
  progress->set_load_index(result_.index());
  progress->set_quant(result_.quant());
}

}  // namespace ballast::agent
