// How long it takes from SubmitJob to the assignment in the worker's hands: a server over a real database, its client
// and its workers in one program, on loopback.
//   bench_dispatch [JOBS] [IDLE_WORKERS]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "ballast/v1/client_service.grpc.pb.h"
#include "ballast/v1/worker_service.grpc.pb.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/config/field_rules.h"
#include "common/rpc/channel.h"
#include "coordinator/rpc/server.h"
#include "storage/sqlite/sqlite_store.h"

namespace ballast {
namespace {

using Clock = std::chrono::steady_clock;

// One worker's stream. Reading and writing block.
class Worker {
 public:
  Worker(const std::shared_ptr<grpc::Channel>& channel, const std::string& device_id)
      : stub_(v1::WorkerService::NewStub(channel)), stream_(stub_->Connect(&context_)) {
    v1::WorkerMessage message;
    message.mutable_hello()->set_device_id(device_id);
    message.mutable_hello()->set_protocol_version(1);
    message.mutable_hello()->mutable_facts()->add_capabilities(v1::WORKLOAD_PRESSURE);
    stream_->Write(message);
  }
  ~Worker() {
    context_.TryCancel();
    v1::CoordinatorMessage message;
    while (stream_->Read(&message)) {
    }
    (void)stream_->Finish();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  bool Read(v1::CoordinatorMessage* message) { return stream_->Read(message); }
  void Heartbeat() {
    v1::WorkerMessage message;
    message.mutable_heartbeat();
    stream_->Write(message);
  }
  // Begins and ends a run, and waits until both are acknowledged.
  bool CarryOut(const v1::Assignment& assignment) {
    v1::WorkerMessage message;
    message.mutable_record()->set_run_id(assignment.run_id());
    message.mutable_record()->set_attempt(assignment.attempt());
    message.mutable_record()->set_seq(1);
    message.mutable_record()->mutable_started();
    stream_->Write(message);
    message.mutable_record()->set_seq(2);
    message.mutable_record()->mutable_finished()->mutable_result()->mutable_outcome()->set_kind(v1::COMPLETED);
    stream_->Write(message);
    v1::CoordinatorMessage answer;
    for (int acknowledged = 0; acknowledged < 2;) {
      if (!stream_->Read(&answer)) return false;
      acknowledged += answer.ack().seqs_size();
    }
    return true;
  }

 private:
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
};

double Percentile(std::vector<double> sorted, double share) {
  std::sort(sorted.begin(), sorted.end());
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

void PrintRow(const char* name, const std::vector<double>& milliseconds) {
  fmt::print("{:<34} p50 {:7.2f} ms   p99 {:7.2f} ms   max {:7.2f} ms\n", name, Percentile(milliseconds, 0.50),
             Percentile(milliseconds, 0.99), Percentile(milliseconds, 1.0));
}

// Resident size of this program: the server, and the workers it talks to.
std::string ResidentSize() {
  const absl::StatusOr<std::string> status = base::ReadFile("/proc/self/status");
  if (!status.ok()) return "unknown";
  std::size_t begin = status->find("VmRSS:");
  if (begin == std::string::npos) return "unknown";
  begin = status->find_first_not_of(" \t", begin + 6);
  return status->substr(begin, status->find('\n', begin) - begin);
}

int Measure(const std::filesystem::path& directory, int jobs, int idle_workers) {
  const auto store = storage::OpenSqliteStore(directory / "ballast.db");
  v1::CoordinatorConfig config;
  config::ApplyDefaults(&config);
  config.mutable_access_limits()->set_calls_per_second(0);  // this one client is as quick as it can
  config.set_listen("127.0.0.1:0");
  config.mutable_heartbeat_interval()->set_seconds(2);
  config.mutable_offline_after()->set_seconds(60);
  if (!store.ok()) return fmt::print(stderr, "error: {}\n", std::string(store.status().message())), 1;
  const auto server = coordinator::Server::Start(config, store->get());
  if (!server.ok()) return fmt::print(stderr, "error: {}\n", std::string(server.status().message())), 1;

  constexpr std::size_t kStreamsPerChannel = 100;
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  std::vector<std::unique_ptr<Worker>> idle;
  v1::CoordinatorMessage message;
  for (int i = 0; i < idle_workers; ++i) {
    if (idle.size() % kStreamsPerChannel == 0) channels.push_back(*rpc::CreateChannel((*server)->address(), false));
    idle.push_back(std::make_unique<Worker>(channels.back(), fmt::format("idle-{:05}", i)));
  }
  for (const std::unique_ptr<Worker>& worker : idle) {
    if (!worker->Read(&message)) return fmt::print(stderr, "error: a worker was refused\n"), 1;
  }
  // All of them send a heartbeat every two seconds, evenly spread.
  std::jthread heartbeats([&idle](const std::stop_token& stop) {
    const auto begin = Clock::now();
    for (std::size_t beat = 0; !idle.empty() && !stop.stop_requested(); ++beat) {
      idle[beat % idle.size()]->Heartbeat();
      std::this_thread::sleep_until(begin + (beat + 1) * std::chrono::microseconds(2'000'000 / idle.size()));
    }
  });

  const std::shared_ptr<grpc::Channel> channel = *rpc::CreateChannel((*server)->address(), false);
  const auto stub = v1::JobService::NewStub(channel);
  Worker worker(*rpc::CreateChannel((*server)->address(), false), "busy");
  if (!worker.Read(&message)) return fmt::print(stderr, "error: the worker was refused\n"), 1;
  v1::SubmitJobRequest request;
  request.mutable_spec()->mutable_workload()->mutable_pressure()->mutable_burst()->set_target_percent(50);
  request.mutable_spec()->mutable_devices()->add_device_ids("busy");
  std::vector<double> replied;
  std::vector<double> assigned;
  const auto milliseconds_since = [](Clock::time_point begin) {
    return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  };
  for (int i = 0; i < jobs; ++i) {
    const auto begin = Clock::now();
    double reply_after = 0;
    grpc::Status status;
    std::jthread submit([&] {
      v1::Job job;
      status = stub->SubmitJob(rpc::MakeContext().get(), request, &job);
      reply_after = milliseconds_since(begin);
    });
    if (!worker.Read(&message)) return fmt::print(stderr, "error: the session ended\n"), 1;
    assigned.push_back(milliseconds_since(begin));
    submit.join();
    if (!status.ok()) return fmt::print(stderr, "error: {}\n", status.error_message()), 1;
    replied.push_back(reply_after);
    if (!worker.CarryOut(message.assignment())) return fmt::print(stderr, "error: the session ended\n"), 1;
  }
  fmt::print("{} jobs one after the other, {} idle workers connected; server and workers together: {}\n", jobs,
             idle_workers, ResidentSize());
  PrintRow("submit to assignment received", assigned);
  PrintRow("submit to reply", replied);
  return 0;
}

}  // namespace
}  // namespace ballast

int main(int argc, char** argv) {
  const int jobs = argc > 1 ? std::atoi(argv[1]) : 500;
  const int idle_workers = argc > 2 ? std::atoi(argv[2]) : 0;
  if (jobs < 1 || idle_workers < 0) {
    fmt::print(stderr, "usage: bench_dispatch [JOBS] [IDLE_WORKERS]\n");
    return 2;
  }
  (void)ballast::base::InitLogging("bench_dispatch", "warn");
  std::string name = (std::filesystem::temp_directory_path() / "ballast-dispatch-XXXXXX").string();
  const std::filesystem::path directory = ::mkdtemp(name.data());
  const int exit_code = ballast::Measure(directory, jobs, idle_workers);
  std::filesystem::remove_all(directory);
  return exit_code;
}
