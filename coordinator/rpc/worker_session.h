// One worker's stream, on the coordinator's side.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "ballast/v1/worker_service.grpc.pb.h"
#include "coordinator/rpc/access_control.h"
#include "coordinator/rpc/actor.h"
#include "coordinator/rpc/audit_log.h"
#include "coordinator/rpc/caller.h"
#include "grpcpp/alarm.h"
#include "grpcpp/grpcpp.h"

namespace ballast::coordinator {

// Reads messages and posts them to the actor, no more at a time than the actor has dealt with; writes what the actor
// sends. Lives until gRPC is done with the stream and the actor has let go of it. Thread-safe.
class WorkerSession final : public grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>,
                            public SessionSink,
                            public std::enable_shared_from_this<WorkerSession> {
 public:
  // Starts serving a stream; gRPC deletes nothing, the session keeps itself alive until OnDone.
  // `access` is null where nobody has a certificate; else the session ends with the certificate it came with. An end
  // that is a refusal is recorded in `audit`, which outlives the session.
  static WorkerSession* Start(Actor* actor, AccessControl* access, AuditLog* audit,
                              grpc::CallbackServerContext* context, std::chrono::milliseconds hello_timeout);

  void Send(v1::CoordinatorMessage message) override;
  void Finish(absl::Status status) override;
  void Release(std::size_t messages, std::size_t bytes) override;

 private:
  WorkerSession(Actor* actor, AccessControl* access, AuditLog* audit, grpc::CallbackServerContext* context)
      : actor_(actor), access_(access), audit_(audit), context_(context), caller_(CallerOf(*context)) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // Ends the stream at once: what waits to be sent is dropped.
  void Expel(const absl::Status& status);

  // All with mutex_ held.
  void WriteNext();
  void FinishNow();
  [[nodiscard]] bool MayRead() const;
  void ReadNext();
  void CheckChunk(v1::Record* record);

  Actor* const actor_;
  AccessControl* const access_;  // may be null
  AuditLog* const audit_;
  grpc::CallbackServerContext* const context_;
  const Caller caller_;
  std::shared_ptr<WorkerSession> self_;      // until OnDone
  std::shared_ptr<WorkerSession> awaiting_;  // while hello_alarm_ is set; not held by the alarm, which this owns
  grpc::Alarm hello_alarm_;
  AccessControl::OpenCall open_call_;  // until OnDone

  std::mutex mutex_;
  core::SessionId session_ = 0;  // 0 until the first message
  std::string device_id_;        // as the worker says: untrusted until it is welcomed
  bool damage_told_ = false;     // one warning about damaged chunks is enough
  v1::WorkerMessage incoming_;
  bool reading_ = false;
  std::size_t waiting_messages_ = 0;
  std::size_t waiting_bytes_ = 0;
  std::deque<v1::CoordinatorMessage> outgoing_;  // the first is being written while writing_
  std::size_t outgoing_bytes_ = 0;
  bool writing_ = false;
  std::optional<grpc::Status> end_;  // asked for; waits until outgoing_ is empty
  bool finished_ = false;            // gRPC was told the status: nothing more may be started
};

}  // namespace ballast::coordinator
