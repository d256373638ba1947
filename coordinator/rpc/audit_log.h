// Who did what: every change that somebody asked for, and every refusal.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/admin_service.pb.h"
#include "common/base/clock.h"
#include "coordinator/rpc/caller.h"
#include "grpcpp/grpcpp.h"
#include "storage/store.h"

namespace ballast::coordinator {

// What was asked for.
struct AuditedAction {
  std::string_view action;             // name of the call, such as `CancelJob`
  std::string_view subject;            // identifier of what it is about
  std::string_view claimed_name = {};  // the name that a client without a certificate gave
  std::string detail = {};             // what came of it; ignored where it failed
};

struct AuditLogOptions {
  // Failures alike from one address are written at most this often; those in between are counted.
  std::chrono::nanoseconds repeat_interval = std::chrono::minutes(1);
  // How long an answer waits for its entry at most: a disk that fails must not hold up what was done already.
  std::chrono::milliseconds patience = std::chrono::seconds(5);
};

// Writes to the store. What was done is on disk before its caller hears of it, or the log of the program says that it
// is not; what failed or was refused is written behind the answer, alike ones of one address once in a while with their
// number. Never blocks the actor: services call it from their own threads. Thread-safe.
class AuditLog {
 public:
  // Both outlive this. A thread writes what waits when its time has come.
  AuditLog(storage::Store* store, const base::Clock* clock, AuditLogOptions options = {});
  // Writes what still waits. No calls may come any more.
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  // To be called with the answer of each call that changes something, before it goes out; returns it. Blocks until the
  // entry is committed where the answer is OK.
  grpc::Status Done(const grpc::ServerContextBase& context, const AuditedAction& action, grpc::Status answer);

  // The same for whoever knows the caller otherwise, and for refusals before a call comes to its service. Whoever was
  // refused for what he is or how often he asks is told of in the program's log, too, as often as in this one.
  void Record(const Caller& caller, const AuditedAction& action, const absl::Status& answer);

  // For streams and transfers, which end all the time: records the end where it is a refusal or a failure. That is any
  // but OK, CANCELLED, UNAVAILABLE (the coordinator stops, or has no room just now) and ABORTED (the worker has another
  // session). Waits for nothing.
  void RecordRefusal(const Caller& caller, const AuditedAction& action, const absl::Status& end);

  // Latest first, with those that have waited until now. Codes as Store::ListAuditEntries.
  [[nodiscard]] absl::StatusOr<v1::ListAuditEntriesResponse> List(const v1::ListAuditEntriesRequest& request);

 private:
  // Failures alike.
  struct Repeated {
    base::SystemTime written{};  // when the entry before those that wait was
    std::uint32_t waiting = 0;
    v1::AuditEntry last;  // of those that wait
  };
  // What the store has not answered for; outlives this with the store's callbacks.
  struct Pending {
    std::mutex mutex;
    std::condition_variable changed;
    int count = 0;
  };

  // Queues the entry; `done` becomes true, under the mutex of `pending_`, when it is known what became of it.
  void Write(v1::AuditEntry entry, std::shared_ptr<bool> done);
  void RecordFailure(v1::AuditEntry entry);
  // Writes entries that have waited for long, or all of them.
  void WriteWaiting(bool all);
  // Until the store has answered for all, or patience is at its end.
  void AwaitWritten();
  // The entries that have waited for long; all of them where `all`. Call it with the mutex.
  [[nodiscard]] std::vector<v1::AuditEntry> TakeWaiting(base::SystemTime now, bool all);

  storage::Store* const store_;
  const base::Clock* const clock_;
  const AuditLogOptions options_;
  const std::shared_ptr<Pending> pending_ = std::make_shared<Pending>();
  std::mutex mutex_;
  std::map<std::string, Repeated> repeated_;  // by address, name, action and code; guarded by mutex_
  std::condition_variable_any stopped_;
  std::jthread thread_;  // the last, as it uses the others
};

}  // namespace ballast::coordinator
