// Workers of the load generator: real sessions that speak the real protocol, and runs that nobody carries out.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ballast/v1/worker_service.grpc.pb.h"
#include "common/tls/identity.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"

namespace ballast::bench {

using Clock = std::chrono::steady_clock;

// Milliseconds that were measured. Thread-safe.
class Latencies {
 public:
  void Add(double milliseconds);
  // Those since the last call, sorted.
  [[nodiscard]] std::vector<double> Take();

 private:
  std::mutex mutex_;
  std::vector<double> values_;  // guarded by mutex_
};

// One thread that calls functions at their times. Thread-safe.
class Timetable {
 public:
  Timetable() : thread_([this](const std::stop_token& stop) { Run(stop); }) {}
  // `call` must not block.
  void At(Clock::time_point time, std::function<void()> call);
  // Calls nothing any more. Blocks until what it is calling has returned.
  void Stop();

 private:
  struct Entry {
    Clock::time_point time;
    std::function<void()> call;
    bool operator<(const Entry& other) const { return time > other.time; }
  };
  void Run(const std::stop_token& stop);

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::priority_queue<Entry> entries_;  // guarded by mutex_
  std::jthread thread_;
};

// What a run went through; zero where it has not.
struct RunTimes {
  Clock::time_point assigned;
  Clock::time_point started;  // the coordinator has acknowledged that it began
  Clock::time_point ended;    // and that it ended
};

// What all workers of a generator have in common. Thread-safe.
struct Fleet {
  std::string address;
  std::string name;                 // label `fleet` of its devices
  std::vector<grpc::Slice> chunks;  // serialised, sent in turn
  std::size_t probe_every = 1;      // of how many heartbeats one asks for the coordinator's clock
  Timetable timetable;

  // How runs go that are assigned from now on.
  std::atomic<bool> send_chunks{false};  // until it is false again; otherwise as long as this:
  std::atomic<std::chrono::milliseconds::rep> run_ms{0};
  std::atomic<std::size_t> window{1};                      // chunks of a run that may be unacknowledged
  std::atomic<std::chrono::milliseconds::rep> pace_ms{0};  // time between two chunks; zero sends as the window allows

  // Runs that ended before are no part of what is measured.
  std::atomic<Clock::time_point> measured_since{Clock::time_point()};
  Latencies connect_ms;     // from the start of the connection to `welcome`
  Latencies lateness_ms;    // of a heartbeat: from when it was due to the coordinator's reading of its clock
  Latencies round_trip_ms;  // of a heartbeat and the reading
  Latencies turnaround_ms;  // from `finished` written to the next assignment received
  Latencies ack_ms;         // from a chunk written to its acknowledgement
  std::atomic<std::uint64_t> acked_chunks{0};
  std::atomic<std::uint64_t> sent_bytes{0};
  std::atomic<std::size_t> welcomed{0};
  std::atomic<std::size_t> lost{0};  // sessions that ended although nobody asked for it
  std::atomic<bool> closing{false};

  std::mutex mutex;
  std::condition_variable changed;                 // of what follows, and of `welcomed` and `lost`
  std::unordered_map<std::string, RunTimes> runs;  // guarded by mutex; by run_id
  std::size_t started_runs = 0;                    // guarded by mutex; since it was set to zero
  std::size_t ended_runs = 0;                      // guarded by mutex; likewise
  std::string first_problem;                       // guarded by mutex
};

// One device: a connection of its own, with one stream. Destroyed only after Join.
class SimulatedWorker final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  SimulatedWorker(Fleet* fleet, std::size_t number);

  [[nodiscard]] const std::string& device_id() const { return device_id_; }
  // What it connects with; null: plain text. Before Connect.
  void set_identity(std::unique_ptr<tls::Identity> identity) { identity_ = std::move(identity); }
  // Connects and says hello. Returns at once; Fleet::welcomed counts.
  void Connect();
  void Cancel() { context_.TryCancel(); }
  // Waits until gRPC is done with the stream.
  void Join();
  // Sends what is left of a run after Fleet::send_chunks was set to false.
  void EndChunks();

  // A run of which chunks were acknowledged, up to this position of its log and without a gap.
  struct Witness {
    std::string run_id;
    std::uint32_t attempt = 0;
    std::uint64_t acked_seq = 0;
  };
  [[nodiscard]] std::vector<Witness> witnesses();

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  void Heartbeat(Clock::time_point due);
  void ScheduleHeartbeat(Clock::time_point due);
  void SendChunk();

  // All with mutex_ held.
  void Hear(v1::CoordinatorMessage message, Clock::time_point now);
  void Begin(const v1::Assignment& assignment, Clock::time_point now);
  void HearAck(const v1::RecordAck& ack, Clock::time_point now);
  void NoteEnded(Clock::time_point now);
  void FillWindow();
  void SendFinished();
  void Send(const v1::WorkerMessage& message);
  void Queue(grpc::ByteBuffer buffer);

  Fleet* const fleet_;
  const std::string device_id_;
  const std::size_t number_;
  std::unique_ptr<tls::Identity> identity_;
  std::unique_ptr<grpc::GenericStub> stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;
  Clock::time_point connecting_since_;

  std::mutex mutex_;
  std::condition_variable done_condition_;
  bool done_ = true;
  std::deque<grpc::ByteBuffer> outgoing_;  // the first is being written while writing_
  bool writing_ = false;
  bool welcomed_ = false;
  std::chrono::nanoseconds heartbeat_interval_{};
  std::size_t heartbeats_ = 0;  // guarded by mutex_; sent until now
  std::uint64_t probe_ = 0;
  Clock::time_point probe_sent_;
  std::chrono::system_clock::time_point probe_due_;

  std::string run_id_;  // empty where it is free
  std::uint32_t attempt_ = 0;
  std::uint64_t next_seq_ = 0;
  bool with_chunks_ = false;
  bool started_ = false;
  bool finished_ = false;  // written
  std::deque<Clock::time_point> unacked_chunks_;
  Clock::time_point finished_at_;
  std::uint64_t acked_seq_ = 0;
  std::vector<Witness> past_;
};

}  // namespace ballast::bench
