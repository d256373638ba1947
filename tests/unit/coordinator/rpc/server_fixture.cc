#include "tests/unit/coordinator/rpc/server_fixture.h"

#include <cstdlib>
#include <utility>

#include "common/config/field_rules.h"
#include "storage/sqlite/sqlite_store.h"

namespace ballast::coordinator {

TestWorker::TestWorker(const std::shared_ptr<grpc::Channel>& channel, std::string device_id)
    : device_id_(std::move(device_id)),
      stub_(v1::WorkerService::NewStub(channel)),
      stream_(stub_->Connect(&context_)) {}

TestWorker::~TestWorker() {
  context_.TryCancel();
  if (!ended_) (void)End();
}

void TestWorker::Hello(const std::function<void(v1::Hello*)>& change) {
  v1::WorkerMessage message;
  v1::Hello* hello = message.mutable_hello();
  hello->set_device_id(device_id_);
  hello->set_protocol_version(1);
  hello->mutable_facts()->set_hostname("host-" + device_id_);
  hello->mutable_facts()->add_capabilities(v1::WORKLOAD_PRESSURE);
  if (change) change(hello);
  Send(message);
  const std::optional<v1::CoordinatorMessage> answer = Read();
  ASSERT_TRUE(answer.has_value());
  ASSERT_TRUE(answer->has_welcome()) << answer->ShortDebugString();
}

void TestWorker::Send(const v1::WorkerMessage& message) {
  (void)stream_->Write(message);
}

void TestWorker::SendIdle() {
  v1::WorkerMessage message;
  message.mutable_heartbeat();
  Send(message);
}

void TestWorker::SendStarted(const std::string& run_id) {
  v1::WorkerMessage message;
  message.mutable_record()->set_run_id(run_id);
  message.mutable_record()->set_attempt(1);
  message.mutable_record()->set_seq(1);
  message.mutable_record()->mutable_started()->set_boot_id("boot");
  Send(message);
}

void TestWorker::SendFinished(const std::string& run_id, std::uint64_t seq,
                              const std::function<void(v1::RunResult*)>& change) {
  v1::WorkerMessage message;
  message.mutable_record()->set_run_id(run_id);
  message.mutable_record()->set_attempt(1);
  message.mutable_record()->set_seq(seq);
  v1::RunResult* const result = message.mutable_record()->mutable_finished()->mutable_result();
  result->mutable_outcome()->set_kind(v1::COMPLETED);
  result->mutable_outcome()->mutable_evidence()->add_kernel_log("line");
  if (change) change(result);
  Send(message);
}

std::optional<v1::CoordinatorMessage> TestWorker::Read() {
  v1::CoordinatorMessage message;
  if (!stream_->Read(&message)) return std::nullopt;
  return message;
}

std::string TestWorker::ReadAssignment() {
  const std::optional<v1::CoordinatorMessage> message = Read();
  if (!message.has_value() || !message->has_assignment()) {
    ADD_FAILURE() << "no assignment but "
                  << (message.has_value() ? message->ShortDebugString() : "the end of the stream");
    return {};
  }
  return message->assignment().run_id();
}

void TestWorker::AwaitAcks(const std::string& run_id, int count) {
  while (count > 0) {
    const std::optional<v1::CoordinatorMessage> message = Read();
    ASSERT_TRUE(message.has_value()) << "the stream ended before everything was acknowledged";
    if (message->has_ack() && message->ack().run_id() == run_id) count -= message->ack().seqs_size();
  }
}

grpc::Status TestWorker::End() {
  ended_ = true;
  v1::CoordinatorMessage message;
  while (stream_->Read(&message)) {
  }
  return stream_->Finish();
}

ServerTest::ServerTest() {
  std::string name = (std::filesystem::temp_directory_path() / "ballast-server-XXXXXX").string();
  directory_ = ::mkdtemp(name.data());
}

ServerTest::~ServerTest() {
  StopServer();
  std::filesystem::remove_all(directory_);
}

void ServerTest::StartServer(const std::function<void(v1::CoordinatorConfig*)>& change) {
  StopServer();
  absl::StatusOr<std::unique_ptr<storage::Store>> database = storage::OpenSqliteStore(directory_ / "ballast.db");
  ASSERT_TRUE(database.ok()) << database.status();
  database_ = *std::move(database);
  store_ = std::make_unique<GatedStore>(database_.get());
  v1::CoordinatorConfig config;
  config::ApplyDefaults(&config);
  config.set_listen("127.0.0.1:0");
  config.set_data_dir(directory_.string());
  config.mutable_heartbeat_interval()->set_seconds(2);
  config.mutable_offline_after()->set_seconds(15);
  if (change) change(&config);
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(config, store_.get());
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  channel_ = *rpc::CreateChannel(server_->address(), config.insecure());
  jobs_ = v1::JobService::NewStub(channel_);
  runs_ = v1::RunService::NewStub(channel_);
  devices_ = v1::DeviceService::NewStub(channel_);
  reports_ = v1::ReportService::NewStub(channel_);
  models_ = v1::ModelService::NewStub(channel_);
  admin_ = v1::AdminService::NewStub(channel_);
}

void ServerTest::StopServer() {
  if (store_ != nullptr) store_->Open();
  server_.reset();
  store_.reset();
  database_.reset();
}

v1::SubmitJobRequest ServerTest::Request() {
  v1::SubmitJobRequest request;
  request.mutable_spec()->mutable_workload()->mutable_pressure()->mutable_burst()->set_target_percent(50);
  request.mutable_spec()->mutable_devices()->set_all(true);
  request.set_submitter("somebody");
  return request;
}

absl::StatusOr<v1::Job> ServerTest::Submit(const v1::SubmitJobRequest& request) {
  v1::Job job;
  const absl::Status status = rpc::FromGrpc(jobs_->SubmitJob(rpc::MakeContext().get(), request, &job));
  if (!status.ok()) return status;
  return job;
}

absl::StatusOr<v1::Job> ServerTest::GetJob(const std::string& job_id) {
  v1::GetJobRequest request;
  request.set_job_id(job_id);
  v1::Job job;
  const absl::Status status = rpc::FromGrpc(jobs_->GetJob(rpc::MakeContext().get(), request, &job));
  if (!status.ok()) return status;
  return job;
}

absl::StatusOr<v1::Run> ServerTest::GetRun(const std::string& run_id) {
  v1::GetRunRequest request;
  request.set_run_id(run_id);
  v1::Run run;
  const absl::Status status = rpc::FromGrpc(runs_->GetRun(rpc::MakeContext().get(), request, &run));
  if (!status.ok()) return status;
  return run;
}

std::unique_ptr<TestWorker> ServerTest::Connect(const std::string& device_id,
                                                const std::function<void(v1::Hello*)>& change) {
  auto worker = std::make_unique<TestWorker>(channel_, device_id);
  worker->Hello(change);
  return worker;
}

}  // namespace ballast::coordinator
