#include "tests/bench/simulated_worker.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/rpc/channel.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace ballast::bench {
namespace {

constexpr char kMethod[] = "/ballast.v1.WorkerService/Connect";
constexpr std::uint32_t kLengthDelimited = 2;

double MillisecondsBetween(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

grpc::ByteBuffer ToBuffer(const v1::WorkerMessage& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return {&slice, 1};
}

// A record with a chunk whose bytes are shared and not copied: the message's own serialisation around them.
grpc::ByteBuffer ChunkMessage(const v1::Record& head, const grpc::Slice& chunk) {
  std::string record = head.SerializeAsString();
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&record);
    google::protobuf::io::CodedOutputStream output(&stream);
    output.WriteTag(v1::Record::kChunkFieldNumber << 3U | kLengthDelimited);
    output.WriteVarint32(static_cast<std::uint32_t>(chunk.size()));
  }
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream output(&stream);
    output.WriteTag(v1::WorkerMessage::kRecordFieldNumber << 3U | kLengthDelimited);
    output.WriteVarint32(static_cast<std::uint32_t>(record.size() + chunk.size()));
    output.WriteString(record);
  }
  const std::array<grpc::Slice, 2> slices{grpc::Slice(bytes), chunk};
  return {slices.data(), slices.size()};
}

void FillIn(v1::Hello* hello, const std::string& fleet, const std::string& device_id, std::size_t number) {
  hello->set_device_id(device_id);
  hello->set_protocol_version(1);
  (*hello->mutable_labels())["fleet"] = fleet;
  (*hello->mutable_labels())["rack"] = fmt::format("r{}", number / 40);
  (*hello->mutable_labels())["board"] = number % 3 == 0 ? "rk3566" : "n100";
  v1::DeviceFacts* const facts = hello->mutable_facts();
  facts->set_hostname(device_id);
  facts->set_architecture("x86_64");
  facts->set_cpu_model("Intel(R) N100");
  facts->set_cpu_count(4);
  facts->set_memory_bytes(std::uint64_t{4} << 30U);
  facts->set_swap_bytes(std::uint64_t{1} << 30U);
  facts->set_kernel_release("6.1.0-18-amd64");
  facts->set_os_name("Debian GNU/Linux 12 (bookworm)");
  facts->set_cgroup_version(2);
  facts->add_capabilities(v1::WORKLOAD_PRESSURE);
  facts->set_boot_id(fmt::format("00000000-0000-4000-8000-{:012}", number));
  facts->set_page_size_bytes(4096);
}

}  // namespace

void Latencies::Add(double milliseconds) {
  const std::lock_guard lock(mutex_);
  values_.push_back(milliseconds);
}

std::vector<double> Latencies::Take() {
  std::vector<double> taken;
  {
    const std::lock_guard lock(mutex_);
    taken.swap(values_);
  }
  std::ranges::sort(taken);
  return taken;
}

void Timetable::At(Clock::time_point time, std::function<void()> call) {
  const std::lock_guard lock(mutex_);
  const bool first = entries_.empty() || time < entries_.top().time;
  entries_.push({time, std::move(call)});
  if (first) changed_.notify_one();
}

void Timetable::Stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Timetable::Run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (entries_.empty()) {
      changed_.wait(lock, stop, [this] { return !entries_.empty(); });
    } else if (const Clock::time_point next = entries_.top().time; next > Clock::now()) {
      changed_.wait_until(lock, stop, next, [this, next] { return entries_.top().time < next; });
    } else {
      const std::function<void()> call = entries_.top().call;
      entries_.pop();
      lock.unlock();
      call();
      lock.lock();
    }
  }
}

SimulatedWorker::SimulatedWorker(Fleet* fleet, std::size_t number)
    : fleet_(fleet), device_id_(fmt::format("load-{:05}", number)), number_(number) {}

void SimulatedWorker::Connect() {
  connecting_since_ = Clock::now();
  // As a worker does; each channel is a connection of its own.
  stub_ = std::make_unique<grpc::GenericStub>(*rpc::CreateChannel(fleet_->address, false, identity_.get()));
  stub_->PrepareBidiStreamingCall(&context_, kMethod, {}, this);
  {
    const std::lock_guard lock(mutex_);
    done_ = false;
    v1::WorkerMessage message;
    FillIn(message.mutable_hello(), fleet_->name, device_id_, number_);
    Send(message);
  }
  StartRead(&incoming_);
  StartCall();
}

void SimulatedWorker::Join() {
  std::unique_lock lock(mutex_);
  done_condition_.wait(lock, [this] { return done_; });
}

void SimulatedWorker::OnReadDone(bool ok) {
  if (!ok) return;
  v1::CoordinatorMessage message;
  const grpc::Status status = grpc::SerializationTraits<v1::CoordinatorMessage>::Deserialize(&incoming_, &message);
  if (status.ok()) {
    const std::lock_guard lock(mutex_);
    Hear(std::move(message), Clock::now());
  }
  incoming_.Clear();
  StartRead(&incoming_);
}

void SimulatedWorker::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  outgoing_.pop_front();
  if (!ok || outgoing_.empty()) return;
  writing_ = true;
  StartWrite(&outgoing_.front());
}

void SimulatedWorker::OnDone(const grpc::Status& status) {
  if (!fleet_->closing) {
    ++fleet_->lost;
    const std::lock_guard lock(fleet_->mutex);
    if (fleet_->first_problem.empty()) {
      fleet_->first_problem =
          fmt::format("{}: {} {}", device_id_, static_cast<int>(status.error_code()), status.error_message());
    }
    fleet_->changed.notify_all();
  }
  const std::lock_guard lock(mutex_);
  welcomed_ = false;
  done_ = true;
  done_condition_.notify_all();
}

void SimulatedWorker::ScheduleHeartbeat(Clock::time_point due) {
  fleet_->timetable.At(due, [this, due] { Heartbeat(due); });
}

void SimulatedWorker::Heartbeat(Clock::time_point due) {
  const std::lock_guard lock(mutex_);
  if (!welcomed_ || done_) return;
  const Clock::time_point now = Clock::now();
  v1::WorkerMessage message;
  if (!run_id_.empty() && !finished_) {
    message.mutable_heartbeat()->set_active_run_id(run_id_);
    message.mutable_heartbeat()->set_active_attempt(attempt_);
  }
  message.mutable_heartbeat()->set_spool_bytes(unacked_chunks_.size() * 4096);
  if ((number_ + heartbeats_++) % fleet_->probe_every == 0) {
    message.mutable_heartbeat()->set_clock_probe(++probe_);
    probe_sent_ = now;
    probe_due_ =
        std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::system_clock::duration>(now - due);
  }
  Send(message);
  ScheduleHeartbeat(due + heartbeat_interval_);
}

void SimulatedWorker::Hear(v1::CoordinatorMessage message, Clock::time_point now) {
  if (message.has_ack()) {
    HearAck(message.ack(), now);
  } else if (message.has_clock_reading()) {
    if (message.clock_reading().clock_probe() != probe_) return;
    fleet_->round_trip_ms.Add(MillisecondsBetween(probe_sent_, now));
    fleet_->lateness_ms.Add(
        std::chrono::duration<double, std::milli>(base::FromProto(message.clock_reading().time()) - probe_due_)
            .count());
  } else if (message.has_assignment()) {
    Begin(message.assignment(), now);
  } else if (message.has_welcome()) {
    welcomed_ = true;
    heartbeat_interval_ = base::FromProto(message.welcome().heartbeat_interval());
    fleet_->connect_ms.Add(MillisecondsBetween(connecting_since_, now));
    ScheduleHeartbeat(now + heartbeat_interval_);
    ++fleet_->welcomed;
    const std::lock_guard lock(fleet_->mutex);
    fleet_->changed.notify_all();
  } else if (message.has_cancel() && message.cancel().run_id() == run_id_ && !finished_) {
    with_chunks_ = false;
    SendFinished();
  } else if (message.has_record_rejected()) {
    const std::lock_guard lock(fleet_->mutex);
    if (fleet_->first_problem.empty()) fleet_->first_problem = message.record_rejected().reason();
  }
}

void SimulatedWorker::Begin(const v1::Assignment& assignment, Clock::time_point now) {
  if (assignment.run_id() == run_id_) return;
  if (!past_.empty() && past_.back().run_id == assignment.run_id()) return;
  if (finished_at_ > fleet_->measured_since.load()) fleet_->turnaround_ms.Add(MillisecondsBetween(finished_at_, now));
  if (!run_id_.empty() && finished_) NoteEnded(now);  // its acknowledgement comes behind the next assignment
  run_id_ = assignment.run_id();
  attempt_ = assignment.attempt();
  next_seq_ = 1;
  acked_seq_ = 0;
  started_ = finished_ = false;
  with_chunks_ = fleet_->send_chunks;
  unacked_chunks_.clear();
  {
    const std::lock_guard lock(fleet_->mutex);
    fleet_->runs[run_id_].assigned = now;
  }
  v1::WorkerMessage message;
  v1::Record* const record = message.mutable_record();
  record->set_run_id(run_id_);
  record->set_attempt(attempt_);
  record->set_seq(next_seq_++);
  *record->mutable_started()->mutable_start_time() = base::ToProto(std::chrono::system_clock::now());
  Send(message);
}

void SimulatedWorker::HearAck(const v1::RecordAck& ack, Clock::time_point now) {
  if (ack.run_id() != run_id_ || ack.attempt() != attempt_) return;
  for (const std::uint64_t seq : ack.seqs()) {
    if (seq == acked_seq_ + 1) acked_seq_ = seq;
    if (seq == 1) {
      started_ = true;
      if (with_chunks_ && fleet_->pace_ms > 0) {
        fleet_->timetable.At(now + std::chrono::milliseconds(fleet_->pace_ms), [this] { SendChunk(); });
      } else if (!with_chunks_) {
        fleet_->timetable.At(now + std::chrono::milliseconds(fleet_->run_ms), [this] {
          const std::lock_guard lock(mutex_);
          if (!run_id_.empty() && !finished_) SendFinished();
        });
      }
      const std::lock_guard lock(fleet_->mutex);
      fleet_->runs[run_id_].started = now;
      ++fleet_->started_runs;
      fleet_->changed.notify_all();
    } else if (finished_ && seq + 1 == next_seq_) {
      NoteEnded(now);
      return;
    } else if (!unacked_chunks_.empty()) {
      fleet_->ack_ms.Add(MillisecondsBetween(unacked_chunks_.front(), now));
      unacked_chunks_.pop_front();
      ++fleet_->acked_chunks;
    }
  }
  if (with_chunks_ && fleet_->pace_ms == 0) FillWindow();
}

void SimulatedWorker::NoteEnded(Clock::time_point now) {
  past_.push_back({run_id_, attempt_, acked_seq_});
  const std::lock_guard lock(fleet_->mutex);
  fleet_->runs[run_id_].ended = now;
  ++fleet_->ended_runs;
  fleet_->changed.notify_all();
  run_id_.clear();
}

void SimulatedWorker::FillWindow() {
  if (!started_ || finished_) return;
  if (!fleet_->send_chunks) {
    SendFinished();
    return;
  }
  while (unacked_chunks_.size() < fleet_->window) {
    v1::Record head;
    head.set_run_id(run_id_);
    head.set_attempt(attempt_);
    head.set_seq(next_seq_);
    const grpc::Slice& chunk = fleet_->chunks[(number_ + next_seq_) % fleet_->chunks.size()];
    fleet_->sent_bytes += chunk.size();
    ++next_seq_;
    unacked_chunks_.push_back(Clock::now());
    Queue(ChunkMessage(head, chunk));
  }
}

void SimulatedWorker::SendChunk() {
  const std::lock_guard lock(mutex_);
  if (!with_chunks_ || !started_ || finished_ || run_id_.empty()) return;
  FillWindow();
  if (!finished_) {
    fleet_->timetable.At(Clock::now() + std::chrono::milliseconds(fleet_->pace_ms), [this] { SendChunk(); });
  }
}

void SimulatedWorker::EndChunks() {
  const std::lock_guard lock(mutex_);
  if (with_chunks_ && started_ && !finished_ && !run_id_.empty()) SendFinished();
}

void SimulatedWorker::SendFinished() {
  finished_ = true;
  v1::WorkerMessage message;
  v1::Record* const record = message.mutable_record();
  record->set_run_id(run_id_);
  record->set_attempt(attempt_);
  record->set_seq(next_seq_++);
  v1::AttemptFinished* const finished = record->mutable_finished();
  *finished->mutable_end_time() = base::ToProto(std::chrono::system_clock::now());
  finished->mutable_result()->mutable_outcome()->set_kind(v1::COMPLETED);
  Send(message);
  finished_at_ = Clock::now();
}

void SimulatedWorker::Send(const v1::WorkerMessage& message) {
  Queue(ToBuffer(message));
}

void SimulatedWorker::Queue(grpc::ByteBuffer buffer) {
  outgoing_.push_back(std::move(buffer));
  if (writing_) return;
  writing_ = true;
  StartWrite(&outgoing_.front());
}

std::vector<SimulatedWorker::Witness> SimulatedWorker::witnesses() {
  const std::lock_guard lock(mutex_);
  std::vector<Witness> all = past_;
  if (!run_id_.empty() && acked_seq_ > 0) all.push_back({run_id_, attempt_, acked_seq_});
  return all;
}

}  // namespace ballast::bench
