// The worker's side of its one stream to the coordinator.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/worker_service.grpc.pb.h"
#include "common/tls/identity.h"
#include "worker/agent/run_supervisor.h"
#include "worker/agent/session_core.h"
#include "worker/agent/spool.h"
#include "worker/agent/spool_reader.h"

namespace ballast::agent {

struct SessionOptions {
  std::string coordinator;  // address
  bool insecure = false;    // plain text to other machines
  // What is to be shown now, and null for plain text. Asked for each session; may be empty.
  std::function<std::shared_ptr<const tls::Identity>()> tls_identity = {};
  SessionIdentity identity;
  // Collected anew for each session.
  std::function<v1::DeviceFacts()> facts;
};

// Keeps a session with the coordinator: connects, says who and what the device is, sends the spool's records in order
// and heartbeats, hands assignments to the supervisor and acknowledgements to the spool, and connects again when the
// session breaks. Holds one record in memory at a time: what the network does not take waits on disk. Thread-safe.
class Session final : public SupervisorListener {
 public:
  // Starts the session's thread; nothing is checked yet (rpc::CreateChannel says whether the address can be used).
  // `clock` is told what the coordinator's clock shows. The three outlive the session.
  Session(SessionOptions options, Spool* spool, RunSupervisor* supervisor, PeerClock* clock);
  // As Stop(), without waiting for acknowledgements.
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // While connected, waits up to `deliver` until the coordinator has acknowledged all that is durable in the spool;
  // then ends the session. True when nothing is left.
  bool Stop(std::chrono::milliseconds deliver);

  // Begins another session beside the one that is going on, which ends only when the coordinator has taken the new one:
  // after the identity was renewed.
  void Replace();

  // Number of sessions the coordinator has welcomed so far.
  [[nodiscard]] std::uint64_t welcome_count() const;

  void OnProgress(const v1::RunProgress& progress) override;
  void OnRejected(const v1::AssignmentRejected& rejected) override;

 private:
  using Stream = grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>;

  // A stream, with the thread that reads it.
  struct Connection {
    ~Connection();  // breaks it off
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::WorkerService::Stub> stub;
    grpc::ClientContext context;  // without a deadline: a session lasts as long as it can
    std::unique_ptr<Stream> stream;
    bool ended = false;     // guarded by mutex_: the coordinator has ended it, or it broke
    bool replaced = false;  // guarded by mutex_: what it still brings is not listened to
    std::jthread listener;
  };

  void Loop();
  // One session from beginning to end; the status says why it ended. Nothing where another is to take its place.
  std::optional<absl::Status> RunOnce();
  // Until the session ends or is to be replaced.
  absl::Status Talk(Connection& connection);
  void Listen(Connection& connection);
  void Explain(absl::Status status);

  const SessionOptions options_;
  Spool* const spool_;
  RunSupervisor* const supervisor_;
  SpoolReader reader_;  // used by the session's thread alone
  std::string last_problem_;
  std::string last_cause_;                // as gRPC said it
  std::unique_ptr<Connection> previous_;  // that is being replaced; used by the session's thread alone

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  SessionCore core_;                        // guarded by mutex_
  bool changed_since_ = false;              // something happened since the core was last asked what to do
  grpc::ClientContext* context_ = nullptr;  // of the session that is going on
  bool replace_ = false;                    // another session is to take its place
  bool stopping_ = false;
  std::uint64_t welcome_count_ = 0;

  std::jthread thread_;
};

}  // namespace ballast::agent
