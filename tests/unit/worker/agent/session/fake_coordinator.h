// A coordinator on a real port of this machine that does what a test tells it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ballast/v1/worker_service.grpc.pb.h"
#include "grpcpp/grpcpp.h"

namespace ballast::agent {

// Works: takes sessions, welcomes workers, keeps what they send, and acknowledges records unless told not to.
// Thread-safe.
class FakeCoordinator final : public v1::WorkerService::Service {
 public:
  FakeCoordinator() { Listen(0); }
  ~FakeCoordinator() override { Shutdown(); }

  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // As if the coordinator was killed; and started again on the same port.
  void Shutdown() {
    if (!server_) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  void Restart() { Listen(port_); }

  void set_acknowledge(bool acknowledge) {
    const std::scoped_lock lock(mutex_);
    acknowledge_ = acknowledge;
  }
  void set_welcome(bool welcome) {
    const std::scoped_lock lock(mutex_);
    welcome_ = welcome;
  }

  // Sends to the session that is going on.
  void Send(const v1::CoordinatorMessage& message) {
    const std::scoped_lock lock(mutex_);
    ASSERT_NE(stream_, nullptr);
    stream_->Write(message);
  }
  // Ends the session that is going on with a status.
  void End(const grpc::Status& status) {
    const std::scoped_lock lock(mutex_);
    ASSERT_NE(context_, nullptr);
    end_ = status;
    context_->TryCancel();
  }
  // From now on new sessions end at once with this status.
  void Refuse(const grpc::Status& status) {
    const std::scoped_lock lock(mutex_);
    refusal_ = status;
  }

  // Waits until what was received satisfies the condition, which is called with the lock held.
  struct Received {
    std::vector<v1::Hello> hellos;
    std::vector<v1::Record> records;  // in order of arrival, repetitions included
    std::vector<v1::Heartbeat> heartbeats;
    std::vector<v1::RunProgress> progress;
    std::vector<v1::AssignmentRejected> rejected;
    int refused_sessions = 0;
    int open_sessions = 0;
    int most_open_sessions = 0;
    int ended_sessions = 0;
  };
  [[nodiscard]] bool WaitFor(const std::function<bool(const Received&)>& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return condition(received_); });
  }
  [[nodiscard]] Received received() {
    const std::scoped_lock lock(mutex_);
    return received_;
  }

 private:
  using Stream = grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>;

  void Listen(int port) {
    grpc::ServerBuilder builder;
    int chosen = 0;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &chosen);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    ASSERT_TRUE(server_ != nullptr && chosen != 0);
    port_ = chosen;
  }

  grpc::Status Connect(grpc::ServerContext* context, Stream* stream) override {
    v1::WorkerMessage message;
    if (!stream->Read(&message) || !message.has_hello()) return {grpc::StatusCode::INVALID_ARGUMENT, "no hello"};
    {
      const std::scoped_lock lock(mutex_);
      if (!refusal_.ok()) {
        ++received_.refused_sessions;
        changed_.notify_all();
        return refusal_;
      }
      received_.hellos.push_back(message.hello());
      received_.most_open_sessions = std::max(received_.most_open_sessions, ++received_.open_sessions);
      stream_ = stream;
      context_ = context;
      end_ = grpc::Status::OK;
      if (welcome_) {
        v1::CoordinatorMessage welcome;
        welcome.mutable_welcome()->set_coordinator_version("test");
        welcome.mutable_welcome()->mutable_heartbeat_interval()->set_nanos(50'000'000);
        stream->Write(welcome);
      }
      changed_.notify_all();
    }
    while (stream->Read(&message)) Take(stream, message);
    const std::scoped_lock lock(mutex_);
    --received_.open_sessions;
    ++received_.ended_sessions;
    changed_.notify_all();
    if (stream_ == stream) {
      stream_ = nullptr;
      context_ = nullptr;
    }
    return end_;
  }

  void Take(Stream* stream, const v1::WorkerMessage& message) {
    const std::scoped_lock lock(mutex_);
    switch (message.content_case()) {
      case v1::WorkerMessage::kRecord: {
        received_.records.push_back(message.record());
        if (!acknowledge_) break;
        v1::CoordinatorMessage ack;
        ack.mutable_ack()->set_run_id(message.record().run_id());
        ack.mutable_ack()->set_attempt(message.record().attempt());
        ack.mutable_ack()->add_seqs(message.record().seq());
        stream->Write(ack);
        break;
      }
      case v1::WorkerMessage::kHeartbeat:
        received_.heartbeats.push_back(message.heartbeat());
        break;
      case v1::WorkerMessage::kProgress:
        received_.progress.push_back(message.progress());
        break;
      case v1::WorkerMessage::kAssignmentRejected:
        received_.rejected.push_back(message.assignment_rejected());
        break;
      default:
        break;
    }
    changed_.notify_all();
  }

  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  Received received_;
  Stream* stream_ = nullptr;
  grpc::ServerContext* context_ = nullptr;
  grpc::Status end_;
  grpc::Status refusal_;
  bool acknowledge_ = true;
  bool welcome_ = true;
};

}  // namespace ballast::agent
