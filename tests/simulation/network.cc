#include "tests/simulation/network.h"

#include <algorithm>
#include <vector>

namespace ballast::simulation {
namespace {

// As docs/protocol.md has them.
constexpr seconds kWorkerKeepalive(60);
constexpr seconds kCoordinatorKeepalive(360);
// What fits into the buffers of both kernels.
constexpr std::size_t kWindow = 12;

}  // namespace

nanoseconds Network::ArrivalAfter(std::size_t device, nanoseconds last) {
  const nanoseconds lag = lag_[device];
  return std::max(last, timeline_->now() + random_->Between(microseconds(100), milliseconds(20) + lag));
}

ConnectionPointer Network::Open(std::size_t device) {
  auto connection = std::make_shared<Connection>();
  connection->number = ++last_number_;
  connection->device = device;
  connection->established = !paths_[device].up && !paths_[device].down;
  connections_[connection->number] = connection;
  return connection;
}

void Network::SendUp(const ConnectionPointer& connection, v1::WorkerMessage message) {
  if (!connection->worker_there) return;
  connection->up.last_arrival = ArrivalAfter(connection->device, connection->up.last_arrival);
  connection->up.queue.emplace_back(connection->up.last_arrival, std::move(message));
  timeline_->At(connection->up.last_arrival, [this, connection] { PumpUp(connection); });
}

void Network::SendDown(const ConnectionPointer& connection, v1::CoordinatorMessage message) {
  if (!connection->coordinator_there) return;
  connection->down.last_arrival = ArrivalAfter(connection->device, connection->down.last_arrival);
  connection->down.queue.emplace_back(connection->down.last_arrival, std::move(message));
  timeline_->At(connection->down.last_arrival, [this, connection] { PumpDown(connection); });
}

void Network::CloseFromWorker(const ConnectionPointer& connection, bool silent) {
  if (!std::exchange(connection->worker_there, false)) return;
  connection->down.open = false;
  connection->down.queue.clear();
  if (!connection->established) {
    connections_.erase(connection->number);
    return;
  }
  if (silent) {
    connection->up.queue.clear();
    timeline_->After(kCoordinatorKeepalive, [this, connection] { BreakAtCoordinator(connection); });
    return;
  }
  connection->up.last_arrival = ArrivalAfter(connection->device, connection->up.last_arrival);
  connection->up.queue.emplace_back(connection->up.last_arrival, std::nullopt);
  timeline_->At(connection->up.last_arrival, [this, connection] { PumpUp(connection); });
}

void Network::CloseFromCoordinator(const ConnectionPointer& connection, absl::Status status, bool silent) {
  if (!std::exchange(connection->coordinator_there, false)) return;
  connection->up.open = false;
  connection->up.queue.clear();
  if (silent) {
    connection->down.queue.clear();
    timeline_->After(random_->Between(seconds(0), kWorkerKeepalive),
                     [this, connection] { BreakAtWorker(connection, "keepalive"); });
    return;
  }
  connection->down.end = std::move(status);
  connection->down.last_arrival = ArrivalAfter(connection->device, connection->down.last_arrival);
  connection->down.queue.emplace_back(connection->down.last_arrival, std::nullopt);
  timeline_->At(connection->down.last_arrival, [this, connection] { PumpDown(connection); });
}

bool Network::WorkerCanWrite(const Connection& connection) const {
  return connection.up.queue.size() < kWindow;
}

void Network::PumpUp(const ConnectionPointer& connection) {
  auto& queue = connection->up.queue;
  while (!queue.empty() && queue.front().first <= timeline_->now() && connection->coordinator_there) {
    if (!connection->established || paths_[connection->device].up || !ends_.coordinator_reads(*connection)) return;
    std::optional<v1::WorkerMessage> message = std::move(queue.front().second);
    queue.pop_front();
    if (!message) {
      connection->coordinator_there = false;
      connections_.erase(connection->number);
      ends_.on_up_end(connection);
      return;
    }
    if (!connection->worker_there) ++late_words_;
    if (duplicates_ && !message->has_hello() && random_->OneIn(16)) {
      ++duplicate_count_;
      ends_.on_up(connection, *message);
    }
    ends_.on_up(connection, *std::move(message));
  }
}

void Network::ContinueAllUp() {
  std::vector<ConnectionPointer> connections;
  for (const auto& [number, connection] : connections_) connections.push_back(connection);
  for (const ConnectionPointer& connection : connections) PumpUp(connection);
}

void Network::PumpDown(const ConnectionPointer& connection) {
  auto& queue = connection->down.queue;
  while (!queue.empty() && queue.front().first <= timeline_->now() && connection->worker_there) {
    if (paths_[connection->device].down || !ends_.worker_reads(*connection)) return;
    std::optional<v1::CoordinatorMessage> message = std::move(queue.front().second);
    queue.pop_front();
    if (!message) {
      connection->worker_there = false;
      connections_.erase(connection->number);
      ends_.on_down_end(connection, connection->down.end);
      return;
    }
    ends_.on_down(connection, *message);
  }
}

void Network::BreakAtWorker(const ConnectionPointer& connection, const char* why) {
  if (!connection->worker_there) return;
  // What had set out may still arrive.
  CloseFromWorker(connection, false);
  ends_.on_down_end(connection, absl::UnavailableError(why));
}

void Network::BreakAtCoordinator(const ConnectionPointer& connection) {
  if (!connection->coordinator_there) return;
  CloseFromCoordinator(connection, absl::UnavailableError("keepalive"), false);
  connections_.erase(connection->number);
  ends_.on_up_end(connection);
}

void Network::SetBlocked(std::size_t device, bool up, bool down) {
  Path& path = paths_[device];
  path.up = up;
  path.down = down;
  const std::uint64_t change = ++path.changes;
  std::vector<ConnectionPointer> connections;
  for (const auto& [number, connection] : connections_) {
    if (connection->device == device) connections.push_back(connection);
  }
  for (const ConnectionPointer& connection : connections) {
    if (up || down) {
      // A ping needs both directions.
      const auto unchanged = [this, device, change] { return paths_[device].changes == change; };
      timeline_->After(kWorkerKeepalive, [this, connection, unchanged] {
        if (unchanged()) BreakAtWorker(connection, "keepalive");
      });
      timeline_->After(kCoordinatorKeepalive, [this, connection, unchanged] {
        if (unchanged()) BreakAtCoordinator(connection);
      });
    } else {
      connection->established = true;
      timeline_->At(ArrivalAfter(device, nanoseconds(0)), [this, connection] {
        PumpUp(connection);
        PumpDown(connection);
      });
    }
  }
}

}  // namespace ballast::simulation
