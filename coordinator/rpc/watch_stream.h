// One watcher's stream.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "ballast/v1/client_service.grpc.pb.h"
#include "coordinator/rpc/access_control.h"
#include "coordinator/rpc/actor.h"
#include "coordinator/rpc/reading_gate.h"
#include "coordinator/rpc/sinks.h"
#include "grpcpp/alarm.h"
#include "grpcpp/grpcpp.h"
#include "storage/store.h"

namespace ballast::coordinator {

// Sends what the actor publishes. Every update is the whole of what it is about, so that one which was not sent yet is
// replaced by a later one: a slow watcher sees fewer steps in between and the same end, and never holds more than the
// job, its runs and their progress. Thread-safe.
class WatchStream final : public grpc::ServerWriteReactor<v1::JobUpdate>,
                          public WatchSink,
                          public std::enable_shared_from_this<WatchStream> {
 public:
  // Starts serving; the store is used only within `gate`, and the actor until OnDone. The stream keeps itself alive
  // until OnDone. `access` is null where nobody has a certificate; else the stream ends with the one it came with.
  static WatchStream* Start(Actor* actor, storage::Store* store, std::shared_ptr<ReadingGate> gate, std::string job_id,
                            AccessControl* access, grpc::CallbackServerContext* context);

  void Update(const v1::JobUpdate& update) override;
  void Finish(absl::Status status) override;
  void ServeFromStore() override;
  [[nodiscard]] bool alive() const override;

 private:
  WatchStream(Actor* actor, storage::Store* store, std::shared_ptr<ReadingGate> gate, std::string job_id)
      : actor_(actor), store_(store), gate_(std::move(gate)), job_id_(std::move(job_id)) {}

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void ReadStore();
  // Ends the stream at once: what waits to be sent is dropped.
  void Expel(const absl::Status& status, grpc::CallbackServerContext* context);
  // With mutex_ held.
  void WriteNext();
  void FinishNow();

  Actor* const actor_;
  storage::Store* const store_;
  const std::shared_ptr<ReadingGate> gate_;  // shared: a reading may be late
  const std::string job_id_;
  std::shared_ptr<WatchStream> self_;     // until OnDone
  std::shared_ptr<WatchStream> reading_;  // while alarm_ is set; not held by the alarm, which this owns
  AccessControl::OpenCall open_call_;     // until OnDone
  grpc::Alarm alarm_;                     // brings the reading of the store to a thread of gRPC

  mutable std::mutex mutex_;
  std::list<v1::JobUpdate> waiting_;
  std::unordered_map<std::string, std::list<v1::JobUpdate>::iterator> by_subject_;
  v1::JobUpdate writing_update_;
  bool writing_ = false;
  std::optional<grpc::Status> end_;
  bool finished_ = false;
};

}  // namespace ballast::coordinator
