#include "coordinator/rpc/worker_session.h"

#include <chrono>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <spdlog/sinks/ostream_sink.h>

#include "common/base/logging.h"
#include "common/metrics/chunk_codec.h"
#include "coordinator/rpc/worker_service.h"
#include "gmock/gmock.h"
#include "tests/unit/coordinator/rpc/server_fixture.h"

namespace ballast::coordinator {
namespace {

using testing::HasSubstr;

class SessionTest : public ServerTest {
 protected:
  void SetUp() override { StartServer(); }
};

TEST_F(SessionTest, BeginsWithHello) {
  TestWorker worker(channel_, "a");
  v1::WorkerMessage message;
  message.mutable_heartbeat();
  worker.Send(message);
  EXPECT_EQ(worker.End().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(SessionTest, AStreamThatSaysNothingIsEnded) {
  std::unique_ptr<Actor> actor = Actor::Start(store_.get(), &base::RealClock(), {}).value();
  AuditLog audit(store_.get(), &base::RealClock());
  WorkerService service(actor.get(), nullptr, nullptr, nullptr, &audit, nullptr, std::chrono::milliseconds(1));
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  {
    TestWorker worker(*rpc::CreateChannel(fmt::format("127.0.0.1:{}", port), false), "a");
    const grpc::Status status = worker.End();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    EXPECT_THAT(status.error_message(), HasSubstr("no hello"));
  }
  actor->Stop();
  server->Shutdown();
  server->Wait();
}

TEST_F(SessionTest, WhatAWorkerSaysCannotForgeTheLog) {
  std::ostringstream log;
  const auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(log, true);
  StopServer();  // whose threads may log
  base::Log().sinks().push_back(sink);
  base::Log().set_level(spdlog::level::info);
  StartServer();
  {
    TestWorker refused(channel_, "forged\nline");
    v1::WorkerMessage message;
    message.mutable_hello()->set_device_id("forged\nline");
    message.mutable_hello()->set_protocol_version(1);
    refused.Send(message);
    EXPECT_EQ(refused.End().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  const auto worker = Connect("a");
  v1::WorkerMessage message;
  message.mutable_record()->set_attempt(1);
  message.mutable_record()->mutable_chunk()->set_body("x");
  message.mutable_record()->mutable_chunk()->mutable_header()->set_sample_count(1);
  for (std::uint64_t seq = 1; seq <= 5; ++seq) {
    message.mutable_record()->set_run_id("forged\nline " + std::string(1000, 'x'));
    message.mutable_record()->set_seq(seq);
    worker->Send(message);
  }
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(worker->Read().has_value());
  StopServer();
  std::erase(base::Log().sinks(), sink);
  std::size_t damaged = 0;
  std::istringstream lines(log.str());
  for (std::string line; std::getline(lines, line);) {
    EXPECT_FALSE(line.starts_with("line")) << line;
    EXPECT_LT(line.size(), 500U) << line;
    if (line.find("damaged chunk") != std::string::npos) ++damaged;
  }
  EXPECT_EQ(damaged, 1U);
}

TEST_F(SessionTest, AWorkerOfAnotherProtocolIsToldSo) {
  TestWorker worker(channel_, "a");
  v1::WorkerMessage message;
  message.mutable_hello()->set_device_id("a");
  message.mutable_hello()->set_protocol_version(99);
  worker.Send(message);
  const grpc::Status status = worker.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("version 99"));
}

TEST_F(SessionTest, ASecondSessionOfADeviceEndsTheFirst) {
  const auto first = Connect("a");
  const auto second = Connect("a");
  const grpc::Status status = first->End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_THAT(status.error_message(), HasSubstr("device a"));
  ASSERT_TRUE(Submit(Request()).ok());
  EXPECT_NE(second->ReadAssignment(), "");
}

TEST_F(SessionTest, NothingLeavesBeforeItIsCommitted) {
  const auto worker = Connect("a");
  const std::string job_id = Submit(Request())->job_id();
  const std::string run_id = worker->ReadAssignment();
  store_->Close();
  worker->SendStarted(run_id);
  store_->AwaitWrite();
  // The record is in the core, but neither stored nor acknowledged. A crash now loses it, and the worker knows nothing
  // else.
  EXPECT_EQ(GetRun(run_id)->state(), v1::Run::ASSIGNED);
  store_->FailWrites(absl::UnavailableError("power cut"));
  std::optional<v1::CoordinatorMessage> message;
  while ((message = worker->Read()).has_value()) EXPECT_FALSE(message->has_ack()) << message->ShortDebugString();
  EXPECT_EQ(worker->End().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(GetRun(run_id)->state(), v1::Run::ASSIGNED);
  StartServer();
  const auto again = Connect("a", [&](v1::Hello* hello) {
    v1::HeldAttempt* held = hello->add_held_attempts();
    held->set_run_id(run_id);
    held->set_attempt(1);
    held->set_active(true);
  });
  again->SendStarted(run_id);
  again->AwaitAcks(run_id, 1);
  EXPECT_EQ(GetRun(run_id)->state(), v1::Run::RUNNING);
}

TEST_F(SessionTest, AnAssignmentIsStoredBeforeItIsSent) {
  const auto worker = Connect("a");
  store_->Close();
  grpc::ClientContext context;
  v1::Job job;
  grpc::CompletionQueue queue;
  const auto call = jobs_->AsyncSubmitJob(&context, Request(), &queue);
  grpc::Status status;
  call->Finish(&job, &status, nullptr);
  store_->AwaitWrite();
  v1::ListJobsResponse list;
  ASSERT_TRUE(jobs_->ListJobs(rpc::MakeContext().get(), {}, &list).ok());
  EXPECT_EQ(list.jobs_size(), 0);
  store_->Open();
  const std::string run_id = worker->ReadAssignment();
  EXPECT_EQ(GetRun(run_id)->state(), v1::Run::ASSIGNED);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(job.job_id() + ".1", run_id);
}

TEST_F(SessionTest, ManyRecordsAreAllAcknowledgedAlthoughFewMayBeOnTheirWay) {
  const auto worker = Connect("a");
  ASSERT_TRUE(Submit(Request()).ok());
  const std::string run_id = worker->ReadAssignment();
  worker->SendStarted(run_id);
  metrics::ChunkBuilder builder;
  constexpr int kChunks = 500;
  for (int i = 0; i < kChunks; ++i) {
    builder.AddSample(std::chrono::milliseconds(100 * i), metrics::EmptyRow());
    v1::WorkerMessage message;
    message.mutable_record()->set_run_id(run_id);
    message.mutable_record()->set_attempt(1);
    message.mutable_record()->set_seq(static_cast<std::uint64_t>(i) + 2);
    *message.mutable_record()->mutable_chunk() = builder.Finish();
    worker->Send(message);
  }
  worker->AwaitAcks(run_id, kChunks + 1);
  int stored = 0;
  ASSERT_TRUE(store_
                  ->ReadChunks(run_id, 1,
                               [&](std::uint64_t, const v1::Chunk&) {
                                 ++stored;
                                 return absl::OkStatus();
                               })
                  .ok());
  EXPECT_EQ(stored, kChunks);
}

TEST_F(SessionTest, ADamagedChunkIsKeptButCountsForNothing) {
  const auto worker = Connect("a");
  ASSERT_TRUE(Submit(Request()).ok());
  const std::string run_id = worker->ReadAssignment();
  metrics::ChunkBuilder builder;
  metrics::SampleRow row = metrics::EmptyRow();
  row[0] = 1;
  builder.AddSample(std::chrono::milliseconds(100), row);
  v1::WorkerMessage message;
  message.mutable_record()->set_run_id(run_id);
  message.mutable_record()->set_attempt(1);
  message.mutable_record()->set_seq(2);
  *message.mutable_record()->mutable_chunk() = builder.Finish();
  message.mutable_record()->mutable_chunk()->mutable_body()->append("x");
  worker->Send(message);
  worker->AwaitAcks(run_id, 1);
  EXPECT_TRUE(store_->GetRollups(run_id, 1)->empty());
}

TEST_F(SessionTest, RecordsOfUnknownRunsAreRejected) {
  const auto worker = Connect("a");
  worker->SendStarted("j-0123456789.1");
  const std::optional<v1::CoordinatorMessage> message = worker->Read();
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->record_rejected().run_id(), "j-0123456789.1");
}

TEST_F(SessionTest, ALateResultReachesARunThatOnlyTheStoreKnows) {
  const auto worker = Connect("a");
  const absl::StatusOr<v1::Job> job = Submit(Request());
  ASSERT_TRUE(job.ok());
  const std::string run_id = worker->ReadAssignment();
  worker->SendStarted(run_id);
  worker->AwaitAcks(run_id, 1);
  // The device comes back without a trace of its run, and then finds it after all.
  const auto second = Connect("a");
  second->SendIdle();
  v1::WatchJobRequest watch;
  watch.set_job_id(job->job_id());
  const auto context = rpc::MakeContext();
  const auto updates = jobs_->WatchJob(context.get(), watch);
  for (v1::JobUpdate update; updates->Read(&update);) {
  }
  ASSERT_TRUE(updates->Finish().ok());
  ASSERT_EQ(GetRun(run_id)->outcome().kind(), v1::WORKER_CRASHED);
  StartServer();
  const auto third = Connect("a");
  third->SendFinished(run_id, 2);
  third->AwaitAcks(run_id, 1);
  EXPECT_EQ(GetRun(run_id)->outcome().kind(), v1::WORKER_CRASHED);
  ASSERT_EQ(GetRun(run_id)->late_results_size(), 1);
  EXPECT_EQ(GetRun(run_id)->late_results(0).result().outcome().evidence().kernel_log_size(), 1);
}

TEST_F(SessionTest, AWorkerThatHasNothingMoreToSayEndsWell) {
  auto stub = v1::WorkerService::NewStub(channel_);
  grpc::ClientContext context;
  const auto stream = stub->Connect(&context);
  ASSERT_TRUE(stream->WritesDone());
  v1::CoordinatorMessage message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

}  // namespace
}  // namespace ballast::coordinator
