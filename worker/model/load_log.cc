#include "worker/model/load_log.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"

namespace ballast::model {
namespace {

const char* NameOf(v1::Phase::Kind kind) {
  switch (kind) {
    case v1::Phase::PREPARE:
      return "prepare";
    case v1::Phase::LOAD:
      return "load";
    case v1::Phase::INFER:
      return "infer";
    default:
      return "phase";
  }
}

}  // namespace

LoadLog::LoadLog(const v1::LoadTask& task, std::chrono::nanoseconds attempt_start, LoadObserver* observer)
    : observer_(observer), meter_(attempt_start) {
  const v1::ModelLoad& load = task.load();
  result_.set_index(task.index());
  result_.set_model_id(load.model_id());
  result_.set_quant(load.quant());
  result_.set_loader(load.loader());
  result_.set_runtime(load.runtime());
  result_.set_lock(load.lock());
  result_.set_asked_cache(load.cache());
}

void LoadLog::BeginPhase(v1::Phase::Kind kind) {
  v1::Phase phase;
  phase.set_kind(kind);
  *phase.mutable_start_offset() = base::ToProto(meter_.Offset());
  phase.set_load_index(result_.index());
  if (kind == v1::Phase::LOAD) {
    *result_.mutable_start_offset() = phase.start_offset();
    observer_->OnLoadBegin(meter_.CountsSoFar());
  }
  observer_->OnPhase(phase);
  AddEvent(v1::Event::PHASE_STARTED, NameOf(kind));
}

void LoadLog::AddRuntime(pid_t pid) {
  meter_.AddProcess(pid);
  observer_->OnRuntime(pid);
}

std::chrono::nanoseconds LoadLog::EndStage(v1::LoadStage::Kind kind, std::uint64_t weight_bytes, std::uint32_t passes) {
  v1::LoadStage stage = meter_.End(kind);
  stage.set_weight_bytes(weight_bytes);
  stage.set_pass_count(passes);
  observer_->OnStage(stage);
  return base::FromProto(stage.duration());
}

void LoadLog::AddRemark(const std::string& remark) {
  if (!remark.empty()) remarks_ += "; " + remark;
}

v1::RunnerFinished LoadLog::Complete(const std::string& message) {
  return Finish(v1::COMPLETED, message);
}

v1::RunnerFinished LoadLog::Fail(const absl::Status& status) {
  std::string message(status.message());
  if (absl::IsCancelled(status)) return Finish(v1::CANCELLED, std::move(message));
  if (absl::IsAborted(status)) return Finish(v1::OOM_KILLED, std::move(message));
  if (absl::IsResourceExhausted(status)) AddEvent(v1::Event::ALLOCATION_REFUSED, message);
  return Finish(v1::LOAD_FAILED, std::move(message));
}

v1::RunnerFinished LoadLog::Refuse(const std::string& message) {
  return Finish(v1::INVALID, message);
}

v1::RunnerFinished LoadLog::Finish(v1::OutcomeKind outcome, std::string message) {
  v1::RunnerFinished finished;
  finished.set_outcome(outcome);
  finished.set_message(std::move(message) + remarks_);
  *finished.mutable_offset() = base::ToProto(meter_.Offset());
  // A load that failed before it began has neither beginning nor end.
  if (result_.has_start_offset()) *result_.mutable_end_offset() = finished.offset();
  *finished.mutable_load() = result_;
  return finished;
}

void LoadLog::AddEvent(v1::Event::Kind kind, std::string message) {
  v1::Event event;
  *event.mutable_offset() = base::ToProto(meter_.Offset());
  event.set_kind(kind);
  event.set_message(std::move(message));
  observer_->OnEvent(event);
}

}  // namespace ballast::model
