#include "coordinator/rpc/server.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <set>
#include <string>

#include "ballast/v1/report.pb.h"
#include "common/metrics/chunk_codec.h"
#include "coordinator/rpc/next_step.h"
#include "gmock/gmock.h"
#include "tests/unit/coordinator/rpc/raw_call.h"
#include "tests/unit/coordinator/rpc/server_fixture.h"

namespace ballast::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ServiceTest : public ServerTest {
 protected:
  void SetUp() override { StartServer(); }
};

// What the health service answers, on the wire: field 1, SERVING or NOT_SERVING.
const std::string kServing("\x08\x01", 2);

TEST_F(ServiceTest, AJobGoesAllTheWay) {
  const auto worker = Connect("a");
  const absl::StatusOr<v1::Job> job = Submit(Request());
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->run_count(), 1U);
  EXPECT_EQ(job->submitter(), "somebody");
  EXPECT_TRUE(job->job_id().starts_with("j-"));
  EXPECT_EQ(job->job_id().size(), 12U);
  // The defaults are filled in, in groups too that the request left out.
  EXPECT_EQ(job->spec().repetitions(), 1U);
  EXPECT_EQ(job->spec().policy().max_attempts(), 1U);
  EXPECT_EQ(job->spec().policy().expect(), v1::COMPLETED);
  EXPECT_EQ(job->spec().telemetry().sample_interval().nanos(), 100'000'000);
  EXPECT_EQ(job->spec().workload().pressure().content().kind(), v1::PageContent::RANDOM);
  const std::string run_id = worker->ReadAssignment();
  EXPECT_EQ(run_id, job->job_id() + ".1");
  worker->SendStarted(run_id);
  worker->SendFinished(run_id, 2);
  worker->AwaitAcks(run_id, 2);
  const absl::StatusOr<v1::Run> run = GetRun(run_id);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->outcome().kind(), v1::COMPLETED);
  EXPECT_EQ(GetJob(job->job_id())->state(), v1::Job::FINISHED);

  v1::ListJobsResponse list;
  ASSERT_TRUE(jobs_->ListJobs(rpc::MakeContext().get(), {}, &list).ok());
  ASSERT_EQ(list.jobs_size(), 1);
  v1::ListRunsResponse runs;
  ASSERT_TRUE(runs_->ListRuns(rpc::MakeContext().get(), {}, &runs).ok());
  ASSERT_EQ(runs.runs_size(), 1);
  v1::GetReportRequest scope;
  scope.add_job_ids(job->job_id());
  v1::Report report;
  ASSERT_TRUE(reports_->GetReport(rpc::MakeContext().get(), scope, &report).ok());
  EXPECT_EQ(report.overall().run_count(), 1U);
}

TEST_F(ServiceTest, SubmitSaysWhatIsWrong) {
  v1::SubmitJobRequest request = Request();
  EXPECT_EQ(Submit(request).status().code(), absl::StatusCode::kFailedPrecondition);  // nobody there
  const auto worker = Connect("phone-1", [](v1::Hello* hello) { (*hello->mutable_labels())["class"] = "small"; });
  request.mutable_spec()->mutable_workload()->mutable_pressure()->mutable_burst()->set_target_percent(101);
  absl::Status status = Submit(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("workload.pressure.burst.target_percent"));
  EXPECT_EQ(Submit({}).status().code(), absl::StatusCode::kInvalidArgument);
  request = Request();
  (*request.mutable_spec()->mutable_devices()->mutable_labels())["clas"] = "small";
  status = Submit(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("did you mean 'class'?"));
  request = Request();
  (*request.mutable_spec()->mutable_annotations())["note"] = std::string(70'000, 'x');
  EXPECT_EQ(Submit(request).status().code(), absl::StatusCode::kInvalidArgument);
  request = Request();
  request.set_request_id(std::string(200, 'x'));
  EXPECT_EQ(Submit(request).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ServiceTest, ARepeatedRequestIsTheSameJobAlsoAfterARestart) {
  (void)Connect("a");
  v1::SubmitJobRequest request = Request();
  request.set_request_id("r-1");
  const std::string job_id = Submit(request)->job_id();
  EXPECT_EQ(Submit(request)->job_id(), job_id);
  v1::CancelJobRequest cancel;
  cancel.set_job_id(job_id);
  v1::Job job;
  ASSERT_TRUE(jobs_->CancelJob(rpc::MakeContext().get(), cancel, &job).ok());
  StartServer();
  EXPECT_EQ(Submit(request)->job_id(), job_id);
  request.set_request_id("r-2");
  EXPECT_GT(Submit(request)->job_id(), job_id);
}

TEST_F(ServiceTest, AJobIsNeverWrittenOverOneThatHasTheSameOrAGreaterIdentifier) {
  // The clock was ahead once: the job with the greatest identifier is not the latest.
  v1::Job old;
  old.set_job_id("j-y000000000");
  old.set_state(v1::Job::FINISHED);
  old.mutable_create_time()->set_seconds(1);
  v1::Job latest = old;
  latest.set_job_id("j-0000000001");
  latest.mutable_create_time()->set_seconds(2);
  ASSERT_TRUE(store_->WriteAndWait({storage::PutJob{old}, storage::PutJob{latest}}).ok());
  StartServer();
  const auto worker = Connect("a");
  EXPECT_EQ(Submit(Request())->job_id(), "j-y000000001");
  // The next is taken too, by whatever way it came there.
  old.set_job_id("j-y000000002");
  ASSERT_TRUE(store_->WriteAndWait({storage::PutJob{old}}).ok());
  EXPECT_EQ(Submit(Request())->job_id(), "j-y000000003");
  EXPECT_EQ(GetJob("j-y000000002")->state(), v1::Job::FINISHED);
}

TEST_F(ServiceTest, CancellingReachesTheDeviceAndEndedJobsStayAsTheyAre) {
  const auto worker = Connect("a");
  const std::string job_id = Submit(Request())->job_id();
  const std::string run_id = worker->ReadAssignment();
  worker->SendStarted(run_id);
  worker->AwaitAcks(run_id, 1);
  v1::CancelJobRequest request;
  request.set_job_id(job_id);
  v1::Job job;
  ASSERT_TRUE(jobs_->CancelJob(rpc::MakeContext().get(), request, &job).ok());
  EXPECT_TRUE(job.cancel_requested());
  const std::optional<v1::CoordinatorMessage> message = worker->Read();
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->cancel().run_id(), run_id);
  worker->SendFinished(run_id, 2);
  worker->AwaitAcks(run_id, 1);
  StartServer();  // the job is only in the store now
  ASSERT_TRUE(jobs_->CancelJob(rpc::MakeContext().get(), request, &job).ok());
  EXPECT_EQ(job.state(), v1::Job::CANCELLED);
  request.set_job_id("j-nowhere");
  EXPECT_EQ(jobs_->CancelJob(rpc::MakeContext().get(), request, &job).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServiceTest, DevicesAreListedLabelledDrainedAndForgotten) {
  auto a = Connect("a");
  const auto b = Connect("b");
  v1::ListDevicesResponse list;
  ASSERT_TRUE(devices_->ListDevices(rpc::MakeContext().get(), {}, &list).ok());
  ASSERT_EQ(list.devices_size(), 2);
  EXPECT_EQ(list.devices(0).state(), v1::Device::READY);
  v1::LabelDeviceRequest label;
  label.set_device_id("a");
  (*label.mutable_set())["class"] = "small";
  v1::Device device;
  ASSERT_TRUE(devices_->LabelDevice(rpc::MakeContext().get(), label, &device).ok());
  EXPECT_EQ(device.labels().at("class"), "small");
  v1::ListDevicesRequest small;
  (*small.mutable_labels())["class"] = "small";
  ASSERT_TRUE(devices_->ListDevices(rpc::MakeContext().get(), small, &list).ok());
  ASSERT_EQ(list.devices_size(), 1);
  v1::DrainDeviceRequest drain;
  drain.set_device_id("a");
  ASSERT_TRUE(devices_->DrainDevice(rpc::MakeContext().get(), drain, &device).ok());
  EXPECT_EQ(device.state(), v1::Device::DRAINING);
  v1::ResumeDeviceRequest resume;
  resume.set_device_id("a");
  ASSERT_TRUE(devices_->ResumeDevice(rpc::MakeContext().get(), resume, &device).ok());
  EXPECT_EQ(device.state(), v1::Device::READY);
  v1::RemoveDeviceRequest remove;
  remove.set_device_id("a");
  EXPECT_EQ(devices_->RemoveDevice(rpc::MakeContext().get(), remove, &device).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  a.reset();
  grpc::Status removed;
  do {  // the end of the stream takes its time to be noticed
    removed = devices_->RemoveDevice(rpc::MakeContext().get(), remove, &device);
  } while (removed.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(removed.ok());
  v1::GetDeviceRequest get;
  get.set_device_id("a");
  EXPECT_EQ(devices_->GetDevice(rpc::MakeContext().get(), get, &device).error_code(), grpc::StatusCode::NOT_FOUND);
  get.set_device_id("b");
  ASSERT_TRUE(devices_->GetDevice(rpc::MakeContext().get(), get, &device).ok());
  EXPECT_EQ(device.facts().hostname(), "host-b");
}

TEST_F(ServiceTest, SamplesComeBackAsTheyWereSent) {
  const auto worker = Connect("a");
  ASSERT_TRUE(Submit(Request()).ok());
  const std::string run_id = worker->ReadAssignment();
  worker->SendStarted(run_id);
  metrics::ChunkBuilder builder;
  metrics::SampleRow row = metrics::EmptyRow();
  row[static_cast<std::size_t>(metrics::MetricId::kMemTotalBytes) - 1] = 4096;
  v1::WorkerMessage message;
  message.mutable_record()->set_run_id(run_id);
  message.mutable_record()->set_attempt(1);
  for (std::uint64_t seq = 2; seq <= 4; ++seq) {
    builder.AddSample(std::chrono::milliseconds(100 * (seq - 1)), row);
    message.mutable_record()->set_seq(seq);
    *message.mutable_record()->mutable_chunk() = builder.Finish();
    if (seq == 3) message.mutable_record()->mutable_chunk()->mutable_body()->append("x");  // damaged: left out
    worker->Send(message);
  }
  worker->AwaitAcks(run_id, 4);
  v1::ReadSamplesRequest request;
  request.set_run_id(run_id);
  request.add_metrics("mem_total_bytes");
  const auto context = rpc::MakeContext();
  const auto reader = runs_->ReadSamples(context.get(), request);
  v1::SampleSeries series;
  ASSERT_TRUE(reader->Read(&series));
  EXPECT_THAT(series.offset_ms(), ElementsAre(100.0));
  ASSERT_EQ(series.columns_size(), 1);
  EXPECT_THAT(series.columns(0).values(), ElementsAre(4096.0));
  ASSERT_TRUE(reader->Read(&series));
  EXPECT_THAT(series.offset_ms(), ElementsAre(300.0));
  EXPECT_FALSE(reader->Read(&series));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(ServiceTest, ARestartWithAFullQueueLosesNothing) {
  std::set<std::string> run_ids;
  {
    const auto worker = Connect("a");
    v1::SubmitJobRequest request = Request();
    request.mutable_spec()->set_repetitions(5);
    for (int i = 0; i < 4; ++i) {
      const std::string job_id = Submit(request)->job_id();
      for (int n = 1; n <= 5; ++n) run_ids.insert(job_id + "." + std::to_string(n));
    }
  }
  StartServer();
  const auto worker = Connect("a");
  worker->SendIdle();  // it never began the run that it was given
  while (!run_ids.empty()) {
    const std::string run_id = worker->ReadAssignment();
    ASSERT_EQ(run_ids.erase(run_id), 1U) << run_id;
    worker->SendStarted(run_id);
    worker->AwaitAcks(run_id, 1);
    worker->SendFinished(run_id, 2);
    // The next assignment leaves with the acknowledgement, before it.
    if (!run_ids.empty()) continue;
    worker->AwaitAcks(run_id, 1);
  }
  v1::ListJobsResponse list;
  ASSERT_TRUE(jobs_->ListJobs(rpc::MakeContext().get(), {}, &list).ok());
  EXPECT_EQ(list.jobs_size(), 4);
  for (const v1::Job& job : list.jobs()) EXPECT_EQ(job.state(), v1::Job::FINISHED) << job.job_id();
}

TEST_F(ServiceTest, StoppingEndsEverythingSoon) {
  const auto worker = Connect("a");
  const std::string job_id = Submit(Request())->job_id();
  v1::WatchJobRequest request;
  request.set_job_id(job_id);
  const auto context = rpc::MakeContext();
  const auto watch = jobs_->WatchJob(context.get(), request);
  v1::JobUpdate update;
  ASSERT_TRUE(watch->Read(&update));
  const auto begin = std::chrono::steady_clock::now();
  server_->Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(worker->End().error_code(), grpc::StatusCode::UNAVAILABLE);
  while (watch->Read(&update)) {
  }
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ServiceTest, AnswersHealthChecksAndReflection) {
  const absl::StatusOr<std::string> health = RawCall(channel_, "/grpc.health.v1.Health/Check", "");
  ASSERT_TRUE(health.ok()) << health.status();
  EXPECT_EQ(*health, kServing);
  // ServerReflectionRequest with list_services, field 7.
  const absl::StatusOr<std::string> services =
      RawCall(channel_, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", std::string("\x3a\x01*", 3));
  ASSERT_TRUE(services.ok()) << services.status();
  for (const char* name :
       {"ballast.v1.JobService", "ballast.v1.RunService", "ballast.v1.DeviceService", "ballast.v1.ModelService",
        "ballast.v1.ReportService", "ballast.v1.WorkerService", "grpc.health.v1.Health"}) {
    EXPECT_THAT(*services, HasSubstr(name));
  }
}

TEST_F(ServiceTest, AFullDiskIsSaidAndSurvived) {
  auto worker = Connect("a");
  const std::string job_id = Submit(Request())->job_id();
  store_->FailWrites(absl::UnavailableError("database or disk is full"));
  const absl::Status refused = Submit(Request()).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("disk is full"));
  EXPECT_EQ(worker->End().error_code(), grpc::StatusCode::UNAVAILABLE);
  // Nothing is taken in while it lasts, what is there can be read, and health tells.
  store_->AwaitFailures(2);
  EXPECT_EQ(Submit(Request()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(GetJob(job_id).ok());
  v1::GetDeviceRequest get;
  get.set_device_id("a");
  v1::Device device;
  EXPECT_TRUE(devices_->GetDevice(rpc::MakeContext().get(), get, &device).ok());
  EXPECT_EQ(device.facts().hostname(), "host-a");
  get.set_device_id("b");
  EXPECT_EQ(devices_->GetDevice(rpc::MakeContext().get(), get, &device).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_NE(*RawCall(channel_, "/grpc.health.v1.Health/Check", ""), kServing);
  // It comes back by itself, with exactly what was stored before.
  store_->FailWrites(absl::OkStatus());
  while (*RawCall(channel_, "/grpc.health.v1.Health/Check", "") != kServing) {
  }
  v1::ListJobsResponse list;
  ASSERT_TRUE(jobs_->ListJobs(rpc::MakeContext().get(), {}, &list).ok());
  EXPECT_EQ(list.jobs_size(), 1);
  const auto again = Connect("a");
  again->SendIdle();
  EXPECT_EQ(again->ReadAssignment(), job_id + ".1");
}

TEST_F(ServerTest, FailuresOfTheStoreAreNotTakenForThoseOfTheAddress) {
  StartServer();
  (void)Connect("a");
  server_.reset();
  v1::CoordinatorConfig config;
  config.set_listen("127.0.0.1:0");
  store_->FailWrites(absl::UnavailableError("database or disk is full"));
  const absl::Status status = Server::Start(config, store_.get()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(NextStepOf(status), HasSubstr("free space"));
}

TEST_F(ServerTest, RefusesAnAddressInUse) {
  StartServer();
  v1::CoordinatorConfig config;
  config.set_listen(server_->address());
  const absl::Status status = Server::Start(config, store_.get()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(server_->address()));
}

TEST_F(ServerTest, PlainTextStaysOnThisMachineUnlessAskedOtherwise) {
  StartServer();
  v1::CoordinatorConfig config;
  config.set_listen("0.0.0.0:0");
  EXPECT_EQ(Server::Start(config, store_.get()).status().code(), absl::StatusCode::kFailedPrecondition);
  config.set_insecure(true);
  StartServer([](v1::CoordinatorConfig* changed) {
    changed->set_listen("0.0.0.0:0");
    changed->set_insecure(true);
  });
}

TEST_F(ServerTest, ServesOnAUnixSocketAndTakesOverOneThatIsDead) {
  const std::string path = (directory_ / "socket").string();
  {  // as a coordinator leaves it that was killed
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path.copy(name.sun_path, sizeof(name.sun_path) - 1);
    ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
    ::close(fd);
  }
  StartServer([&](v1::CoordinatorConfig* config) { config->set_listen("unix:" + path); });
  const auto worker = Connect("a");
  EXPECT_TRUE(Submit(Request()).ok());
  v1::CoordinatorConfig config;
  config.set_listen("unix:" + path);
  EXPECT_EQ(Server::Start(config, store_.get()).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(Submit(Request()).ok());
}

}  // namespace
}  // namespace ballast::coordinator
