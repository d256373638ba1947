// A real server over a real database in a directory of its own, and clients and workers for it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "ballast/v1/admin_service.grpc.pb.h"
#include "ballast/v1/client_service.grpc.pb.h"
#include "ballast/v1/worker_service.grpc.pb.h"
#include "common/rpc/channel.h"
#include "coordinator/rpc/server.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator/rpc/gated_store.h"

namespace ballast::coordinator {

// A worker that does what the test says. Reading blocks until a message comes or the stream ends. Not thread-safe.
class TestWorker {
 public:
  TestWorker(const std::shared_ptr<grpc::Channel>& channel, std::string device_id);
  ~TestWorker();
  TestWorker(const TestWorker&) = delete;
  TestWorker& operator=(const TestWorker&) = delete;

  // Says hello and awaits the welcome. `held` may add attempts that are still held.
  void Hello(const std::function<void(v1::Hello*)>& change = {});
  void Send(const v1::WorkerMessage& message);
  // A heartbeat of a worker that does nothing.
  void SendIdle();
  void SendStarted(const std::string& run_id);
  // COMPLETED, unless `change` makes it another result.
  void SendFinished(const std::string& run_id, std::uint64_t seq,
                    const std::function<void(v1::RunResult*)>& change = {});
  // The next message; nothing once the stream has ended.
  std::optional<v1::CoordinatorMessage> Read();
  // The identifier of the run in the next message, which must be an assignment.
  std::string ReadAssignment();
  // Reads acknowledgements until `count` records of the run are acknowledged.
  void AwaitAcks(const std::string& run_id, int count);
  // How the stream ended. Reads what is left.
  grpc::Status End();
  void Cancel() { context_.TryCancel(); }

 private:
  std::string device_id_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
  bool ended_ = false;
};

class ServerTest : public testing::Test {
 protected:
  ServerTest();
  ~ServerTest() override;

  // Opens the database and starts the server; ends the one there was.
  void StartServer(const std::function<void(v1::CoordinatorConfig*)>& change = {});
  void StopServer();

  // A pressure job for every device.
  static v1::SubmitJobRequest Request();
  absl::StatusOr<v1::Job> Submit(const v1::SubmitJobRequest& request);
  absl::StatusOr<v1::Job> GetJob(const std::string& job_id);
  absl::StatusOr<v1::Run> GetRun(const std::string& run_id);
  std::unique_ptr<TestWorker> Connect(const std::string& device_id, const std::function<void(v1::Hello*)>& change = {});

  std::filesystem::path directory_;
  std::unique_ptr<storage::Store> database_;
  std::unique_ptr<GatedStore> store_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::RunService::Stub> runs_;
  std::unique_ptr<v1::DeviceService::Stub> devices_;
  std::unique_ptr<v1::ReportService::Stub> reports_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

}  // namespace ballast::coordinator
