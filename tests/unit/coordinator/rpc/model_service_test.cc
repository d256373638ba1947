// ModelService, FetchModel and the models of jobs over a real connection.
#include <algorithm>
#include <fstream>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ballast/v1/client_service.grpc.pb.h"
#include "ballast/v1/worker_service.grpc.pb.h"
#include "common/base/clock.h"
#include "common/rpc/channel.h"
#include "coordinator/rpc/model_service.h"
#include "tests/unit/common/models/model_files.h"
#include "tests/unit/coordinator/rpc/server_fixture.h"

namespace ballast::coordinator {
namespace {

using models::DigestOf;
using models::TinyModel;
using ::testing::HasSubstr;

class ModelServiceTest : public ServerTest {
 protected:
  ModelServiceTest() { StartServer(); }

  struct PushResult {
    absl::Status status;
    std::uint64_t stored_bytes = 0;
    v1::ModelEntry entry;
  };
  // Sends the file from where the coordinator says, up to `end`, and then says nothing more.
  PushResult Push(const std::string& content, std::size_t end = std::string::npos, std::string sha256 = "",
                  const std::string& model_id = "mine") {
    PushResult result;
    const auto context = rpc::MakeContext();
    const auto stream = models_->PushModel(context.get());
    v1::PushModelRequest request;
    request.mutable_start()->set_model_id(model_id);
    request.mutable_start()->set_quant("Q4_0");
    request.mutable_start()->mutable_file()->set_size_bytes(content.size());
    request.mutable_start()->mutable_file()->set_sha256(sha256.empty() ? DigestOf(content) : sha256);
    stream->Write(request);
    v1::PushModelResponse response;
    if (stream->Read(&response)) {
      result.stored_bytes = response.stored_bytes();
      for (std::size_t position = result.stored_bytes; position < std::min(end, content.size());) {
        const std::size_t size = std::min<std::size_t>(1U << 20U, std::min(end, content.size()) - position);
        request.mutable_piece()->set_offset_bytes(position);
        request.mutable_piece()->set_content(content.substr(position, size));
        if (!stream->Write(request)) break;
        position += size;
      }
      stream->WritesDone();
      while (stream->Read(&response)) result.entry = response.entry();
    }
    result.status = rpc::FromGrpc(stream->Finish());
    return result;
  }

  absl::Status Fetch(const std::string& sha256, std::uint64_t offset, std::string* content) {
    const auto stub = v1::WorkerService::NewStub(channel_);
    v1::FetchModelRequest request;
    request.set_sha256(sha256);
    request.set_offset_bytes(offset);
    request.set_accept_local_path(true);  // over TCP that changes nothing
    const auto context = rpc::MakeContext();
    const auto reader = stub->FetchModel(context.get(), request);
    v1::FilePiece piece;
    while (reader->Read(&piece)) {
      EXPECT_EQ(piece.offset_bytes(), offset + content->size());
      EXPECT_LE(piece.content().size(), 1U << 20U);
      *content += piece.content();
    }
    return rpc::FromGrpc(reader->Finish());
  }

  absl::Status Remove(const std::string& model_id, const std::string& quant) {
    v1::RemoveModelRequest request;
    request.set_model_id(model_id);
    request.set_quant(quant);
    v1::ModelEntry entry;
    return rpc::FromGrpc(models_->RemoveModel(rpc::MakeContext().get(), request, &entry));
  }

  absl::StatusOr<v1::ModelAdvice> Advise(const v1::AdviseModelRequest& request) {
    v1::ModelAdvice advice;
    const grpc::Status status = models_->AdviseModel(rpc::MakeContext().get(), request, &advice);
    if (!status.ok()) return rpc::FromGrpc(status);
    return advice;
  }

  static v1::SubmitJobRequest ModelRequest(const std::string& model_id, const std::string& quant = "") {
    v1::SubmitJobRequest request;
    v1::ModelLoad* const load = request.mutable_spec()->mutable_workload()->mutable_model()->mutable_load();
    load->set_model_id(model_id);
    load->set_quant(quant);
    request.mutable_spec()->mutable_devices()->set_all(true);
    return request;
  }
  std::unique_ptr<TestWorker> ConnectForModels(const std::string& device_id) {
    return Connect(device_id, [](v1::Hello* hello) { hello->mutable_facts()->add_capabilities(v1::WORKLOAD_MODEL); });
  }
};

TEST_F(ModelServiceTest, WhatIsPushedCanBeFetchedFromAnywhereInIt) {
  const std::string content = TinyModel();
  const PushResult push = Push(content);
  ASSERT_TRUE(push.status.ok()) << push.status;
  EXPECT_EQ(push.entry.source(), "pushed");
  EXPECT_EQ(push.entry.model().architecture(), "qwen2");
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1'234'567}, content.size()}) {
    std::string fetched;
    const absl::Status status = Fetch(DigestOf(content), offset, &fetched);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(fetched == content.substr(offset)) << "from byte " << offset;
  }
  std::string nothing;
  EXPECT_TRUE(absl::IsOutOfRange(Fetch(DigestOf(content), content.size() + 1, &nothing)));
  EXPECT_TRUE(absl::IsNotFound(Fetch(std::string(64, 'a'), 0, &nothing)));
  EXPECT_EQ(nothing, "");
}

TEST_F(ModelServiceTest, NothingButADigestNamesAFile) {
  std::ofstream(directory_ / "secret") << "nobody's business";
  const std::string secret = (directory_ / "secret").string();
  // The suffix of models ends at a zero byte, and an absolute path is one wherever it stands.
  for (const std::string& name : {secret + std::string(1, '\0'), std::string("../secret") + std::string(1, '\0'),
                                  std::string("../../../../etc/passwd"), std::string(), std::string(64, 'G')}) {
    std::string content;
    EXPECT_EQ(Fetch(name, 0, &content).code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(content, "") << name;
  }
}

TEST_F(ModelServiceTest, ABrokenPushGoesOnAfterARestart) {
  const std::string content = TinyModel();
  const PushResult broken = Push(content, content.size() / 2);
  EXPECT_TRUE(absl::IsCancelled(broken.status)) << broken.status;
  StartServer();
  const PushResult push = Push(content);
  ASSERT_TRUE(push.status.ok()) << push.status;
  EXPECT_EQ(push.stored_bytes, content.size() / 2);
  StartServer();
  std::string fetched;
  EXPECT_TRUE(Fetch(DigestOf(content), 0, &fetched).ok());
  EXPECT_TRUE(fetched == content);
}

TEST_F(ModelServiceTest, BadPushesAreRefused) {
  const std::string content = TinyModel();
  const PushResult wrong = Push(content, std::string::npos, std::string(64, 'a'));
  EXPECT_TRUE(absl::IsInvalidArgument(wrong.status)) << wrong.status;
  EXPECT_THAT(wrong.status.message(), HasSubstr(DigestOf(content)));
  const PushResult text = Push("no model");
  EXPECT_TRUE(absl::IsInvalidArgument(text.status)) << text.status;
  const PushResult name = Push(content, std::string::npos, "", "../mine");
  EXPECT_TRUE(absl::IsInvalidArgument(name.status)) << name.status;
  EXPECT_THAT(name.status.message(), HasSubstr("model_id"));
}

TEST_F(ModelServiceTest, AnAssignmentSaysWhereItsModelsComeFrom) {
  const std::string content = TinyModel();
  ASSERT_TRUE(Push(content).status.ok());
  const auto worker = ConnectForModels("a");
  const auto job = Submit(ModelRequest("mine"));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->spec().workload().model().load().quant(), "Q4_0");
  const auto message = worker->Read();
  ASSERT_TRUE(message.has_value() && message->has_assignment());
  ASSERT_EQ(message->assignment().models_size(), 1);
  EXPECT_EQ(message->assignment().models(0).file().sha256(), DigestOf(content));
  EXPECT_EQ(message->assignment().models(0).file().size_bytes(), content.size());
}

TEST_F(ModelServiceTest, AModelThatIsNotThereIsNoJob) {
  const auto worker = ConnectForModels("a");
  const absl::Status model = Submit(ModelRequest("tinny")).status();
  EXPECT_TRUE(absl::IsNotFound(model)) << model;
  EXPECT_THAT(model.message(), HasSubstr("did you mean 'tiny'"));
  const absl::Status level = Submit(ModelRequest("tiny", "Q4_K_L")).status();
  EXPECT_TRUE(absl::IsNotFound(level)) << level;
  EXPECT_THAT(level.message(), HasSubstr("Q4_K_M"));
}

TEST_F(ModelServiceTest, WhatAJobNeedsIsNotRemoved) {
  ASSERT_TRUE(Push(TinyModel()).status.ok());
  const auto worker = ConnectForModels("a");
  const auto job = Submit(ModelRequest("mine"));
  ASSERT_TRUE(job.ok()) << job.status();
  const absl::Status needed = Remove("mine", "Q4_0");
  EXPECT_TRUE(absl::IsFailedPrecondition(needed)) << needed;
  EXPECT_THAT(needed.message(), HasSubstr(job->job_id()));
  const std::string run_id = worker->ReadAssignment();
  worker->SendStarted(run_id);
  worker->SendFinished(run_id, 2);
  worker->AwaitAcks(run_id, 2);
  EXPECT_TRUE(Remove("mine", "Q4_0").ok()) << Remove("mine", "Q4_0");
  EXPECT_TRUE(absl::IsNotFound(Submit(ModelRequest("mine")).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Remove("tiny", "Q4_K_M"))) << "the catalogue's is not the store's";
  EXPECT_TRUE(absl::IsNotFound(Remove("tiny", "Q17")));
}

TEST_F(ModelServiceTest, AdviceIsFromTheHistoryAndFromTheCatalogue) {
  const auto worker = Connect("a", [](v1::Hello* hello) {
    hello->mutable_facts()->add_capabilities(v1::WORKLOAD_MODEL);
    hello->mutable_facts()->set_limit_bytes(std::uint64_t{4} << 30U);
  });
  v1::AdviseModelRequest request;
  request.set_model_id("tiny");
  auto advice = Advise(request);
  ASSERT_TRUE(advice.ok()) << advice.status();
  EXPECT_EQ(advice->current_optimal(), "F16");
  EXPECT_TRUE(advice->estimated());
  EXPECT_EQ(advice->device_count(), 1);

  // What was measured counts more than any estimate.
  const auto job = Submit(ModelRequest("tiny", "F16"));
  ASSERT_TRUE(job.ok()) << job.status();
  const std::string run_id = worker->ReadAssignment();
  worker->SendStarted(run_id);
  worker->SendFinished(run_id, 2, [](v1::RunResult* result) {
    v1::ModelLoadResult& load = *result->add_loads();
    load.set_model_id("tiny");
    load.set_quant("F16");
    load.set_loader(v1::ModelLoad::MMAP);
    load.set_runtime(v1::ModelLoad::BUILTIN);
    load.mutable_outcome()->set_kind(v1::OOM_KILLED);
    *result->mutable_outcome() = load.outcome();
  });
  worker->AwaitAcks(run_id, 2);
  advice = Advise(request);
  ASSERT_TRUE(advice.ok()) << advice.status();
  EXPECT_EQ(advice->current_optimal(), "Q8_0");
  EXPECT_THAT(advice->reason(), HasSubstr("F16 does not: 0 of 1 loads survived: 1 OOM_KILLED"));
}

TEST_F(ModelServiceTest, AdviceOnWhatIsNotThereIsNotFound) {
  v1::AdviseModelRequest request;
  EXPECT_TRUE(absl::IsInvalidArgument(Advise(request).status()));
  request.set_model_id("tinny");
  const absl::Status model = Advise(request).status();
  EXPECT_TRUE(absl::IsNotFound(model)) << model;
  EXPECT_THAT(model.message(), HasSubstr("did you mean 'tiny'"));
  request.set_model_id("tiny");
  request.mutable_devices()->add_device_ids("nobody");
  EXPECT_TRUE(absl::IsNotFound(Advise(request).status()));
}

// As of a client that was stopped: its connection stands, and nothing comes.
TEST_F(ModelServiceTest, APushThatStandsStillIsEndedAndLeavesTheFileToOthers) {
  AuditLog audit(store_.get(), &base::RealClock());
  Admission admission(v1::AccessLimits(), &base::RealClock(), &audit);
  StallWatch stalls(std::chrono::milliseconds(300));
  auto library = models::ModelLibrary::Open(directory_ / "other-models", "");
  ASSERT_TRUE(library.ok()) << library.status();
  ModelService service(library->get(), store_.get(), &admission, &audit, &stalls);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  models_ = v1::ModelService::NewStub(*rpc::CreateChannel(fmt::format("127.0.0.1:{}", port), false));

  const std::string content = TinyModel();
  const auto context = rpc::MakeContext();
  const auto stream = models_->PushModel(context.get());
  v1::PushModelRequest request;
  request.mutable_start()->set_model_id("mine");
  request.mutable_start()->set_quant("Q4_0");
  request.mutable_start()->mutable_file()->set_size_bytes(content.size());
  request.mutable_start()->mutable_file()->set_sha256(DigestOf(content));
  ASSERT_TRUE(stream->Write(request));
  v1::PushModelResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(absl::IsAborted(Push(content).status)) << "it is being pushed";
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  PushResult again;
  do {  // the client hears of its end before the file is free
    again = Push(content);
  } while (absl::IsAborted(again.status));
  EXPECT_TRUE(again.status.ok()) << again.status;
}

}  // namespace
}  // namespace ballast::coordinator
