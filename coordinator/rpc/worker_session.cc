#include "coordinator/rpc/worker_session.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/text.h"
#include "common/metrics/chunk_codec.h"
#include "common/rpc/channel.h"

namespace ballast::coordinator {
namespace {

// What one worker may have on its way into the store. More than a second's worth of any run, and what 10,000 workers
// may have together is bounded by Actor::overloaded.
constexpr std::size_t kMaxWaitingMessages = 64;
constexpr std::size_t kMaxWaitingBytes = 8U << 20U;
// What may wait to be sent to one worker. Acknowledgements are small and assignments few: who lets this much gather
// does not read.
constexpr std::size_t kMaxOutgoingMessages = 4096;
constexpr std::size_t kMaxOutgoingBytes = 16U << 20U;

}  // namespace

WorkerSession* WorkerSession::Start(Actor* actor, AccessControl* access, AuditLog* audit,
                                    grpc::CallbackServerContext* context, std::chrono::milliseconds hello_timeout) {
  std::shared_ptr<WorkerSession> session(new WorkerSession(actor, access, audit, context));
  session->self_ = session;
  session->awaiting_ = session;
  session->hello_alarm_.Set(
      std::chrono::system_clock::now() + hello_timeout, [raw = session.get(), hello_timeout](bool) {
        const std::shared_ptr<WorkerSession> self = std::move(raw->awaiting_);
        const std::lock_guard lock(self->mutex_);
        if (self->session_ != 0 || self->finished_ || self->end_.has_value()) return;
        self->end_ = grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED,
                                  fmt::format("no hello within {} ms; a worker says it first", hello_timeout.count()));
        self->FinishNow();
      });
  {
    const std::lock_guard lock(session->mutex_);
    session->ReadNext();
  }
  if (access != nullptr) {
    session->open_call_ =
        access->Register(*context, [weak = std::weak_ptr<WorkerSession>(session)](const absl::Status& status) {
          if (const std::shared_ptr<WorkerSession> live = weak.lock()) live->Expel(status);
        });
  }
  return session.get();
}

bool WorkerSession::MayRead() const {
  if (reading_ || finished_ || end_.has_value()) return false;
  if (waiting_messages_ == 0) return true;
  return waiting_messages_ < kMaxWaitingMessages && waiting_bytes_ < kMaxWaitingBytes && !actor_->overloaded();
}

void WorkerSession::ReadNext() {
  if (!MayRead()) return;
  reading_ = true;
  StartRead(&incoming_);
}

void WorkerSession::OnReadDone(bool ok) {
  core::SessionId session = 0;
  std::size_t bytes = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!ok) {  // the worker has gone, or says that it has no more to say
      reading_ = false;
      if (!end_.has_value()) end_ = grpc::Status::OK;
      WriteNext();
      return;
    }
    if (finished_ || end_.has_value()) {
      reading_ = false;
      return;
    }
    if (session_ == 0) {
      if (!incoming_.has_hello()) {
        reading_ = false;
        end_ = grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "the first message of a session must be hello");
        FinishNow();
        return;
      }
      device_id_ = incoming_.hello().device_id();
      if (caller_.authenticated && device_id_ != caller_.name) {
        reading_ = false;
        end_ = grpc::Status(
            grpc::StatusCode::PERMISSION_DENIED,
            fmt::format(
                "this certificate is that of device {}, and the worker says that it is device {}; start it without "
                "--device-id, or join with a token for the other name",
                base::Quoted(caller_.name), base::Quoted(device_id_)));
        FinishNow();
        return;
      }
    }
    session = session_;
    if (incoming_.has_record() && incoming_.record().has_chunk()) CheckChunk(incoming_.mutable_record());
    bytes = incoming_.ByteSizeLong();
    ++waiting_messages_;
    waiting_bytes_ += bytes;
  }
  // Without the lock: an actor that is stopping refuses at once, and in this thread (Finish). No other read is begun
  // meanwhile, as this one counts as going on.
  const bool opens = session == 0;
  if (opens) session = actor_->OpenSession(shared_from_this());
  actor_->Receive(session, std::move(incoming_), bytes);
  const std::lock_guard lock(mutex_);
  if (opens) session_ = session;
  reading_ = false;
  incoming_.Clear();
  ReadNext();
}

void WorkerSession::CheckChunk(v1::Record* record) {
  const absl::Status status = metrics::ValidateChunk(record->chunk());
  if (status.ok()) return;
  // Kept as it is, since nobody has a better one, but kept out of the rollups. Readers leave it out and say so.
  record->mutable_chunk()->mutable_header()->clear_summaries();
  if (std::exchange(damage_told_, true)) return;
  base::Log().warn("device {} sends damaged chunks, the first is {} of {}: {}", base::Quoted(device_id_), record->seq(),
                   base::Quoted(record->run_id()), std::string(status.message()));
}

void WorkerSession::Release(std::size_t messages, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  waiting_messages_ -= messages;
  waiting_bytes_ -= bytes;
  ReadNext();
}

void WorkerSession::Send(v1::CoordinatorMessage message) {
  const std::lock_guard lock(mutex_);
  if (finished_ || end_.has_value()) return;
  // Only now is it known that the coordinator takes the worker.
  if (message.has_welcome())
    base::Log().info("device {} connected from {}", base::Quoted(device_id_), context_->peer());
  outgoing_bytes_ += message.ByteSizeLong();
  outgoing_.push_back(std::move(message));
  if (outgoing_.size() > kMaxOutgoingMessages || outgoing_bytes_ > kMaxOutgoingBytes) {
    base::Log().warn("session {} does not read what it is sent; it is ended", session_);
    end_ = grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the worker does not read what it is sent");
    context_->TryCancel();  // a write that is stuck would hold the end up for ever
    return;
  }
  WriteNext();
}

void WorkerSession::WriteNext() {
  if (writing_ || finished_) return;
  if (!outgoing_.empty()) {
    writing_ = true;
    StartWrite(&outgoing_.front());
  } else if (end_.has_value()) {
    FinishNow();
  }
}

void WorkerSession::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  if (!ok) {
    if (!end_.has_value()) end_ = grpc::Status::OK;
    FinishNow();
    return;
  }
  outgoing_bytes_ -= outgoing_.front().ByteSizeLong();
  outgoing_.pop_front();
  WriteNext();
}

void WorkerSession::Finish(absl::Status status) {
  const bool renewed = absl::IsAborted(status) && access_ != nullptr && access_->HasLaterCall(caller_);
  const std::lock_guard lock(mutex_);
  if (renewed) {
    base::Log().info("device {} goes on in another session, with a later certificate", base::Quoted(device_id_));
  } else if (!absl::IsUnavailable(status)) {  // the whole coordinator's affair, and told of as such
    base::Log().warn("the session of device {} ends: {}", base::Quoted(device_id_), std::string(status.message()));
  }
  if (finished_ || end_.has_value()) return;
  end_ = rpc::ToGrpc(status);
  WriteNext();
}

void WorkerSession::Expel(const absl::Status& status) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  if (!end_.has_value()) {
    base::Log().warn("device {} is sent away: {}", base::Quoted(device_id_), std::string(status.message()));
    end_ = rpc::ToGrpc(status);
  }
  if (writing_) {
    context_->TryCancel();  // a write that is stuck would hold the end up for ever
  } else {
    FinishNow();
  }
}

void WorkerSession::FinishNow() {
  if (std::exchange(finished_, true)) return;
  outgoing_.clear();
  outgoing_bytes_ = 0;
  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>::Finish(*end_);
}

void WorkerSession::OnCancel() {
  const std::lock_guard lock(mutex_);
  // A read that waits for its turn would never tell.
  if (!end_.has_value()) end_ = grpc::Status::CANCELLED;
  if (!writing_) FinishNow();
}

void WorkerSession::OnDone() {
  hello_alarm_.Cancel();
  open_call_ = {};
  core::SessionId session = 0;
  std::optional<grpc::Status> end;
  {
    const std::lock_guard lock(mutex_);
    session = session_;
    end = end_;
  }
  // Only here, on a thread of gRPC's: what ends a session may be the actor, which waits for no one.
  if (end.has_value()) {
    audit_->RecordRefusal(caller_, {.action = "Connect", .subject = device_id_}, rpc::FromGrpc(*end));
  }
  if (session != 0) actor_->CloseSession(session);
  const std::shared_ptr<WorkerSession> last = std::move(self_);
}

}  // namespace ballast::coordinator
