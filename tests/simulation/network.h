// Connections that deliver late, break, hang half open, and outlive their ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "ballast/v1/worker_service.pb.h"
#include "tests/simulation/random.h"
#include "tests/simulation/timeline.h"

namespace ballast::simulation {

// One stream. In each direction what is sent arrives in order, or the stream breaks; two streams know nothing of each
// other's order.
struct Connection {
  template <typename Message>
  struct Direction {
    // A message, or the end of the stream with its status.
    std::deque<std::pair<nanoseconds, std::optional<Message>>> queue;
    absl::Status end;
    nanoseconds last_arrival{};
    bool blocked = false;
    bool open = true;  // at the receiving end
  };
  std::uint64_t number = 0;
  std::size_t device = 0;
  Direction<v1::WorkerMessage> up;
  Direction<v1::CoordinatorMessage> down;
  std::uint64_t session = 0;  // the coordinator's number; 0 before the hello
  bool established = true;    // nothing that is sent before leaves its machine
  bool worker_there = true;   // the worker has the stream
  bool coordinator_there = true;
};
using ConnectionPointer = std::shared_ptr<Connection>;

// All connections. Not thread-safe.
class Network {
 public:
  // Who is at the ends.
  struct Ends {
    std::function<void(const ConnectionPointer&, v1::WorkerMessage)> on_up;
    std::function<void(const ConnectionPointer&)> on_up_end;
    std::function<void(const ConnectionPointer&, const v1::CoordinatorMessage&)> on_down;
    std::function<void(const ConnectionPointer&, const absl::Status&)> on_down_end;
    // Whether the end reads.
    std::function<bool(const Connection&)> coordinator_reads;
    std::function<bool(const Connection&)> worker_reads;
  };

  Network(Timeline* timeline, Random* random) : timeline_(timeline), random_(random) {}
  void SetEnds(Ends ends) { ends_ = std::move(ends); }

  [[nodiscard]] ConnectionPointer Open(std::size_t device);
  void SendUp(const ConnectionPointer& connection, v1::WorkerMessage message);
  void SendDown(const ConnectionPointer& connection, v1::CoordinatorMessage message);
  // What was written before arrives. `silent`: the machine went, and nobody is told before a keepalive finds out.
  void CloseFromWorker(const ConnectionPointer& connection, bool silent);
  void CloseFromCoordinator(const ConnectionPointer& connection, absl::Status status, bool silent);
  // Whether a write would not block.
  [[nodiscard]] bool WorkerCanWrite(const Connection& connection) const;
  // An end reads again.
  void ContinueUp(const ConnectionPointer& connection) { PumpUp(connection); }
  void ContinueAllUp();
  void ContinueDown(const ConnectionPointer& connection) { PumpDown(connection); }

  // A device's network takes nothing in a direction, or does again.
  void SetBlocked(std::size_t device, bool up, bool down);
  // How late messages of a device may be.
  void SetLag(std::size_t device, nanoseconds lag) { lag_[device] = lag; }
  void SetDuplicates(bool duplicates) { duplicates_ = duplicates; }
  [[nodiscard]] std::uint64_t duplicates() const { return duplicate_count_; }
  // Words that had set out on a connection that a device has left.
  [[nodiscard]] std::uint64_t late_words() const { return late_words_; }

 private:
  struct Path {
    bool up = false;
    bool down = false;
    std::uint64_t changes = 0;
  };

  [[nodiscard]] nanoseconds ArrivalAfter(std::size_t device, nanoseconds last);
  void PumpUp(const ConnectionPointer& connection);
  void PumpDown(const ConnectionPointer& connection);
  void BreakAtWorker(const ConnectionPointer& connection, const char* why);
  void BreakAtCoordinator(const ConnectionPointer& connection);

  Timeline* timeline_;
  Random* random_;
  Ends ends_;
  std::map<std::size_t, Path> paths_;
  std::map<std::size_t, nanoseconds> lag_;
  std::map<std::uint64_t, ConnectionPointer> connections_;
  std::uint64_t last_number_ = 0;
  bool duplicates_ = false;
  std::uint64_t duplicate_count_ = 0;
  std::uint64_t late_words_ = 0;
};

}  // namespace ballast::simulation
