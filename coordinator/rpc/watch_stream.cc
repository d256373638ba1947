#include "coordinator/rpc/watch_stream.h"

#include <utility>
#include <vector>

#include "common/rpc/channel.h"
#include "coordinator/core/run_transitions.h"

namespace ballast::coordinator {
namespace {

// What an update is about: a later one about the same takes its place.
std::string Subject(const v1::JobUpdate& update) {
  if (update.has_run()) return "run " + update.run().run_id();
  if (update.has_progress()) return "progress " + update.progress().run_id();
  return "job";
}

}  // namespace

WatchStream* WatchStream::Start(Actor* actor, storage::Store* store, std::shared_ptr<ReadingGate> gate,
                                std::string job_id, AccessControl* access, grpc::CallbackServerContext* context) {
  std::shared_ptr<WatchStream> stream(new WatchStream(actor, store, std::move(gate), std::move(job_id)));
  stream->self_ = stream;
  actor->Watch(stream->job_id_, stream);
  if (access != nullptr) {
    stream->open_call_ =
        access->Register(*context, [weak = std::weak_ptr<WatchStream>(stream), context](const absl::Status& status) {
          if (const std::shared_ptr<WatchStream> live = weak.lock()) live->Expel(status, context);
        });
  }
  return stream.get();
}

void WatchStream::Update(const v1::JobUpdate& update) {
  const std::lock_guard lock(mutex_);
  if (finished_ || end_.has_value()) return;
  std::string subject = Subject(update);
  const auto it = by_subject_.find(subject);
  if (it != by_subject_.end()) {
    *it->second = update;
  } else {
    by_subject_.emplace(std::move(subject), waiting_.insert(waiting_.end(), update));
  }
  WriteNext();
}

void WatchStream::Finish(absl::Status status) {
  const std::lock_guard lock(mutex_);
  if (finished_ || end_.has_value()) return;
  end_ = rpc::ToGrpc(status);
  WriteNext();
}

bool WatchStream::alive() const {
  const std::lock_guard lock(mutex_);
  return !finished_;
}

void WatchStream::ServeFromStore() {
  reading_ = shared_from_this();
  alarm_.Set(std::chrono::system_clock::now(), [this](bool) {
    const std::shared_ptr<WatchStream> self = std::move(reading_);
    // gRPC waits for the stream's end, but not for its alarm: the server may have been stopped meanwhile.
    if (!gate_->Enter()) return Finish(absl::UnavailableError("the coordinator is stopping"));
    ReadStore();
    gate_->Leave();
  });
}

void WatchStream::ReadStore() {
  const absl::StatusOr<v1::Job> job = store_->GetJob(job_id_);
  if (!job.ok()) return Finish(job.status());
  absl::StatusOr<std::vector<v1::Run>> runs = store_->RunsOfJob(job_id_);
  if (!runs.ok()) return Finish(runs.status());
  v1::JobUpdate update;
  *update.mutable_job() = *job;
  Update(update);
  for (v1::Run& run : *runs) {
    core::Slim(&run);
    update.mutable_run()->Swap(&run);
    Update(update);
  }
  Finish(absl::OkStatus());
}

void WatchStream::WriteNext() {
  if (writing_ || finished_) return;
  if (waiting_.empty()) {
    if (end_.has_value()) FinishNow();
    return;
  }
  writing_update_.Swap(&waiting_.front());
  by_subject_.erase(Subject(writing_update_));
  waiting_.pop_front();
  writing_ = true;
  StartWrite(&writing_update_);
}

void WatchStream::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  if (!ok) {
    if (!end_.has_value()) end_ = grpc::Status::CANCELLED;
    FinishNow();
    return;
  }
  WriteNext();
}

void WatchStream::Expel(const absl::Status& status, grpc::CallbackServerContext* context) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  if (!end_.has_value()) end_ = rpc::ToGrpc(status);
  if (writing_) {
    context->TryCancel();  // a write that is stuck would hold the end up for ever
  } else {
    FinishNow();
  }
}

void WatchStream::FinishNow() {
  if (std::exchange(finished_, true)) return;
  waiting_.clear();
  by_subject_.clear();
  grpc::ServerWriteReactor<v1::JobUpdate>::Finish(*end_);
}

void WatchStream::OnCancel() {
  const std::lock_guard lock(mutex_);
  if (!end_.has_value()) end_ = grpc::Status::CANCELLED;
  if (!writing_) FinishNow();
}

void WatchStream::OnDone() {
  open_call_ = {};
  actor_->SweepWatchers(job_id_);
  const std::shared_ptr<WatchStream> last = std::move(self_);
}

}  // namespace ballast::coordinator
