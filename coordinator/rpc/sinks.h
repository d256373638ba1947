// Where the actor's messages go: one session of a worker, one watcher of a job.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/worker_service.pb.h"

namespace ballast::coordinator {

// The coordinator's side of a worker's stream. All methods are thread-safe and never block.
class SessionSink {
 public:
  virtual ~SessionSink() = default;
  // Queues a message. A worker that does not keep up loses its session.
  virtual void Send(v1::CoordinatorMessage message) = 0;
  // Ends the stream after what is queued.
  virtual void Finish(absl::Status status) = 0;
  // Messages that were received are dealt with: more may be read.
  virtual void Release(std::size_t messages, std::size_t bytes) = 0;
};

// A watcher of one job. All methods are thread-safe and never block.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // Queues what the watcher is to see.
  virtual void Update(const v1::JobUpdate& update) = 0;
  // Ends the stream after what is queued.
  virtual void Finish(absl::Status status) = 0;
  // The job is not open: the watcher is served from the store.
  virtual void ServeFromStore() = 0;
  // False once nobody listens any more.
  [[nodiscard]] virtual bool alive() const = 0;
};

}  // namespace ballast::coordinator
