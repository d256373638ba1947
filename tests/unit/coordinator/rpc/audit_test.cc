// The audit log and the bounds of calls, through a real server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "ballast/v1/planning_service.grpc.pb.h"
#include "common/base/clock.h"
#include "coordinator/rpc/audit_log.h"
#include "tests/unit/coordinator/rpc/server_fixture.h"

namespace ballast::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class FakeClock final : public base::Clock {
 public:
  [[nodiscard]] base::SystemTime Now() const override { return base::SystemTime(Monotonic()); }
  [[nodiscard]] std::chrono::nanoseconds Monotonic() const override { return now.load(); }
  struct Time : std::atomic<std::chrono::nanoseconds> {
    using std::atomic<std::chrono::nanoseconds>::atomic;
    void operator+=(std::chrono::nanoseconds step) { store(load() + step); }
  };
  Time now = std::chrono::nanoseconds(std::chrono::hours(500'000));
};

class AuditTest : public ServerTest {
 protected:
  AuditTest() { StartServer(); }

  // The log as it is on disk, first entry first.
  std::vector<v1::AuditEntry> Entries() {
    v1::ListAuditEntriesRequest request;
    request.set_page_size(1000);
    const absl::StatusOr<v1::ListAuditEntriesResponse> response = database_->ListAuditEntries(request);
    if (!response.ok()) {
      ADD_FAILURE() << response.status();
      return {};
    }
    return {response->entries().rbegin(), response->entries().rend()};
  }
  static std::string Text(const v1::AuditEntry& entry) {
    return fmt::format("{} {} {}", entry.action(), entry.subject(), entry.code());
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    for (const v1::AuditEntry& entry : Entries()) texts.push_back(Text(entry));
    return texts;
  }
};

TEST_F(AuditTest, EveryChangeIsWrittenDown) {
  const auto worker = Connect("d-1");
  const absl::StatusOr<v1::Job> job = Submit(Request());
  ASSERT_TRUE(job.ok()) << job.status();
  v1::CancelJobRequest cancel;
  cancel.set_job_id(job->job_id());
  v1::Job cancelled;
  ASSERT_TRUE(jobs_->CancelJob(rpc::MakeContext().get(), cancel, &cancelled).ok());
  v1::Device device;
  v1::LabelDeviceRequest label;
  label.set_device_id("d-1");
  (*label.mutable_set())["room"] = "1";
  ASSERT_TRUE(devices_->LabelDevice(rpc::MakeContext().get(), label, &device).ok());
  v1::DrainDeviceRequest drain;
  drain.set_device_id("d-1");
  ASSERT_TRUE(devices_->DrainDevice(rpc::MakeContext().get(), drain, &device).ok());
  v1::ResumeDeviceRequest resume;
  resume.set_device_id("d-1");
  ASSERT_TRUE(devices_->ResumeDevice(rpc::MakeContext().get(), resume, &device).ok());
  v1::RemoveDeviceRequest remove;
  remove.set_device_id("d-9");
  EXPECT_EQ(devices_->RemoveDevice(rpc::MakeContext().get(), remove, &device).error_code(),
            grpc::StatusCode::NOT_FOUND);
  v1::RemoveModelRequest remove_model;
  remove_model.set_model_id("none");
  remove_model.set_quant("Q4_0");
  v1::ModelEntry model;
  EXPECT_FALSE(models_->RemoveModel(rpc::MakeContext().get(), remove_model, &model).ok());
  {
    const auto context = rpc::MakeContext();
    const auto push = models_->PushModel(context.get());
    v1::PushModelRequest start;
    start.mutable_start()->set_model_id("../../etc/passwd");
    start.mutable_start()->set_quant("Q4_0");
    start.mutable_start()->mutable_file()->set_size_bytes(1);
    push->Write(start);
    EXPECT_EQ(push->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  // Reading is nobody's business.
  v1::ListJobsResponse jobs;
  EXPECT_TRUE(jobs_->ListJobs(rpc::MakeContext().get(), v1::ListJobsRequest(), &jobs).ok());

  server_.reset();  // failures are written behind their answers
  const std::vector<v1::AuditEntry> entries = Entries();
  EXPECT_THAT(Texts(), ElementsAre("SubmitJob " + job->job_id() + " OK", "CancelJob " + job->job_id() + " OK",
                                   "LabelDevice d-1 OK", "DrainDevice d-1 OK", "ResumeDevice d-1 OK",
                                   "RemoveDevice d-9 NOT_FOUND", "RemoveModel none Q4_0 NOT_FOUND",
                                   "PushModel ../../etc/passwd Q4_0 INVALID_ARGUMENT"));
  EXPECT_EQ(entries[0].name(), "somebody");
  EXPECT_EQ(entries[0].role(), v1::ROLE_UNSPECIFIED);
  EXPECT_THAT(entries[0].peer(), StartsWith("ipv4:127.0.0.1:"));
  EXPECT_THAT(entries[0].message(), IsEmpty());
  EXPECT_GT(entries[0].time().seconds(), 1'600'000'000);
  EXPECT_LT(entries[0].entry_id(), entries[1].entry_id());
  EXPECT_THAT(entries[5].message(), HasSubstr("d-9"));
}

TEST_F(AuditTest, ASchedulesRefusalIsWrittenDownWhereverItIsFound) {
  const auto worker = Connect("d-1");
  const auto schedules = v1::ScheduleService::NewStub(channel_);
  v1::PutScheduleRequest request;
  v1::Schedule& schedule = *request.mutable_schedule();
  schedule.set_schedule_id("nightly");
  schedule.set_submitter("kim");
  schedule.set_cron("0 2 * * *");
  v1::Schedule put;
  // Of its job, of a field of its own, of what the core reads, and of nothing.
  EXPECT_EQ(schedules->PutSchedule(rpc::MakeContext().get(), request, &put).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  *schedule.mutable_job() = Request().spec();
  schedule.set_schedule_id("Not A Name");
  EXPECT_EQ(schedules->PutSchedule(rpc::MakeContext().get(), request, &put).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  schedule.set_schedule_id("nightly");
  schedule.set_time_zone("Europe/Nowhere");
  EXPECT_EQ(schedules->PutSchedule(rpc::MakeContext().get(), request, &put).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  schedule.clear_time_zone();
  EXPECT_TRUE(schedules->PutSchedule(rpc::MakeContext().get(), request, &put).ok());

  server_.reset();  // failures are written behind their answers
  std::uint32_t refused = 0;
  for (const v1::AuditEntry& entry : Entries()) {
    EXPECT_EQ(entry.action(), "PutSchedule");
    EXPECT_EQ(entry.name(), "kim");
    if (entry.code() != "OK") refused += std::max(entry.count(), 1U);
  }
  EXPECT_EQ(refused, 3U);  // alike ones are counted
  EXPECT_THAT(Texts(), testing::Contains("PutSchedule nightly INVALID_ARGUMENT"));
  EXPECT_THAT(Texts(), testing::Contains("PutSchedule nightly OK"));
}

TEST_F(AuditTest, PausingAndResumingASchedule) {
  const auto worker = Connect("d-1");
  const auto schedules = v1::ScheduleService::NewStub(channel_);
  v1::PutScheduleRequest request;
  request.mutable_schedule()->set_schedule_id("nightly");
  request.mutable_schedule()->set_submitter("kim");
  request.mutable_schedule()->set_cron("0 2 * * *");
  *request.mutable_schedule()->mutable_job() = Request().spec();
  v1::Schedule schedule;
  ASSERT_TRUE(schedules->PutSchedule(rpc::MakeContext().get(), request, &schedule).ok());
  v1::PauseScheduleRequest pause;
  pause.set_schedule_id("nightly");
  pause.set_requester("eve");
  EXPECT_EQ(schedules->PauseSchedule(rpc::MakeContext().get(), pause, &schedule).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  pause.set_requester("kim");
  ASSERT_TRUE(schedules->PauseSchedule(rpc::MakeContext().get(), pause, &schedule).ok());
  EXPECT_TRUE(schedule.paused());
  v1::ResumeScheduleRequest resume;
  resume.set_schedule_id("nightly");
  resume.set_requester("kim");
  ASSERT_TRUE(schedules->ResumeSchedule(rpc::MakeContext().get(), resume, &schedule).ok());
  EXPECT_FALSE(schedule.paused());
  resume.set_schedule_id("daily");
  EXPECT_EQ(schedules->ResumeSchedule(rpc::MakeContext().get(), resume, &schedule).error_code(),
            grpc::StatusCode::NOT_FOUND);

  server_.reset();  // failures are written behind their answers
  EXPECT_THAT(Texts(), testing::UnorderedElementsAre(
                           "PutSchedule nightly OK", "PauseSchedule nightly PERMISSION_DENIED",
                           "PauseSchedule nightly OK", "ResumeSchedule nightly OK", "ResumeSchedule daily NOT_FOUND"));
}

TEST_F(AuditTest, WhatWasDoneIsOnDiskBeforeItsCallerHears) {
  const auto worker = Connect("d-1");
  ASSERT_TRUE(Submit(Request()).ok());
  EXPECT_THAT(Entries(), testing::SizeIs(1));
  v1::ListAuditEntriesResponse response;
  ASSERT_TRUE(admin_->ListAuditEntries(rpc::MakeContext().get(), {}, &response).ok());
  ASSERT_EQ(response.entries_size(), 1);
  EXPECT_EQ(response.entries(0).code(), "OK");
}

TEST_F(AuditTest, AFailingDiskHoldsUpNoAnswerForLong) {
  FakeClock clock;
  AuditLog log(store_.get(), &clock, {.patience = std::chrono::milliseconds(20)});
  store_->FailWrites(absl::UnavailableError("the disk is full"));
  log.Record({}, {.action = "CancelJob", .subject = "j-1"}, absl::OkStatus());
  store_->FailWrites(absl::OkStatus());
  store_->Close();
  log.Record({}, {.action = "CancelJob", .subject = "j-2"}, absl::OkStatus());
  store_->Open();
}

TEST_F(AuditTest, FailuresAlikeAreCounted) {
  FakeClock clock;
  const absl::Status denied = absl::PermissionDeniedError("a worker may not");
  {
    AuditLog log(database_.get(), &clock);
    const auto refuse = [&](const std::string& peer, std::string_view action) {
      Caller caller;
      caller.peer = peer;
      log.Record(caller, {.action = action, .subject = "x"}, denied);
    };
    // Another port is the same client.
    for (int i = 0; i < 100; ++i) refuse(fmt::format("ipv4:10.0.0.7:{}", 1000 + i), "CancelJob");
    refuse("ipv4:10.0.0.8:1", "CancelJob");
    refuse("ipv4:10.0.0.7:1", "SubmitJob");
    clock.now += std::chrono::seconds(61);
    refuse("ipv4:10.0.0.9:1", "CancelJob");
    refuse("ipv4:10.0.0.7:5", "CancelJob");
  }  // what waits is written at the end
  std::vector<std::string> texts;
  for (const v1::AuditEntry& entry : Entries()) {
    texts.push_back(fmt::format("{} {} {}", entry.peer(), entry.action(), entry.count()));
  }
  EXPECT_THAT(texts, ElementsAre("ipv4:10.0.0.7:1000 CancelJob 0", "ipv4:10.0.0.8:1 CancelJob 0",
                                 "ipv4:10.0.0.7:1 SubmitJob 0", "ipv4:10.0.0.7:1099 CancelJob 99",
                                 "ipv4:10.0.0.9:1 CancelJob 0", "ipv4:10.0.0.7:5 CancelJob 1"));
}

TEST_F(AuditTest, WhatWaitsIsWrittenWhenSomebodyLooksAndWhenItsTimeHasCome) {
  FakeClock clock;
  AuditLog log(database_.get(), &clock);
  const auto refuse = [&log] {
    log.Record({}, {.action = "CancelJob", .subject = "x"}, absl::PermissionDeniedError("a worker may not"));
  };
  for (int i = 0; i < 5; ++i) refuse();
  const auto listed = log.List({});
  ASSERT_TRUE(listed.ok()) << listed.status();
  ASSERT_EQ(listed->entries_size(), 2);
  EXPECT_EQ(listed->entries(0).count(), 4U);
  refuse();
  EXPECT_EQ(log.List({})->entries_size(), 3);
  EXPECT_EQ(log.List({})->entries_size(), 3) << "looking alone writes nothing";

  AuditLog hasty(database_.get(), &clock, {.repeat_interval = std::chrono::milliseconds(20)});
  hasty.Record({}, {.action = "DrainDevice", .subject = "x"}, absl::PermissionDeniedError("a worker may not"));
  hasty.Record({}, {.action = "DrainDevice", .subject = "x"}, absl::PermissionDeniedError("a worker may not"));
  clock.now += std::chrono::seconds(1);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (Entries().size() < 5 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_THAT(Texts(), testing::SizeIs(5));
}

TEST_F(AuditTest, WhatCameOfItIsKeptOfWhatWasDone) {
  FakeClock clock;
  AuditLog log(database_.get(), &clock);
  log.Record({}, {.action = "Enroll", .subject = "a", .detail = "certificate 0a"}, absl::OkStatus());
  log.Record({}, {.action = "Enroll", .subject = "b", .detail = "nothing"}, absl::UnauthenticatedError("used already"));
  EXPECT_EQ(log.List({})->entries(1).detail(), "certificate 0a");
  EXPECT_EQ(log.List({})->entries(0).detail(), "");
}

TEST_F(AuditTest, ALongSubjectIsCut) {
  FakeClock clock;
  AuditLog log(database_.get(), &clock);
  log.Record({}, {.action = "RemoveModel", .subject = std::string(100'000, 'x') + "\xff"}, absl::OkStatus());
  EXPECT_EQ(Entries().at(0).subject().size(), 512U);
}

TEST_F(AuditTest, WhoCallsTooOftenIsToldWhenToComeBack) {
  StartServer([](v1::CoordinatorConfig* config) { config->mutable_access_limits()->set_calls_per_second(1); });
  v1::GetJobRequest request;
  request.set_job_id("j-none");
  v1::Job job;
  grpc::Status status;
  std::unique_ptr<grpc::ClientContext> context;
  for (int i = 0; i < 20 && status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED; ++i) {
    context = rpc::MakeContext();
    status = jobs_->GetJob(context.get(), request, &job);
  }
  ASSERT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("access_limits.calls_per_second"));
  EXPECT_THAT(status.error_message(), HasSubstr("try again in"));
  const auto pushback = context->GetServerTrailingMetadata().find("grpc-retry-pushback-ms");
  ASSERT_NE(pushback, context->GetServerTrailingMetadata().end());
  EXPECT_LE(std::stoi(std::string(pushback->second.data(), pushback->second.size())), 1001);
  // A stream that is refused says so, too.
  v1::WatchJobRequest watch;
  const auto watching = rpc::MakeContext();
  const auto reader = jobs_->WatchJob(watching.get(), watch);
  v1::JobUpdate update;
  EXPECT_FALSE(reader->Read(&update));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  server_.reset();
  const std::vector<v1::AuditEntry> entries = Entries();
  ASSERT_FALSE(entries.empty());
  EXPECT_EQ(Text(entries[0]), "GetJob  RESOURCE_EXHAUSTED");
}

TEST_F(AuditTest, RefusalsOfWorkersAreWrittenDown) {
  TestWorker refused(channel_, "dev-1");
  v1::WorkerMessage message;
  message.mutable_hello()->set_device_id("dev-1");
  message.mutable_hello()->set_protocol_version(1);
  (*message.mutable_hello()->mutable_labels())["class"] = "\x1b[31m";
  refused.Send(message);
  EXPECT_EQ(refused.End().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  v1::FetchModelRequest fetch;
  fetch.set_sha256(std::string(64, 'a'));
  const auto context = rpc::MakeContext();
  const auto file = v1::WorkerService::NewStub(channel_)->FetchModel(context.get(), fetch);
  v1::FilePiece piece;
  EXPECT_FALSE(file->Read(&piece));
  EXPECT_EQ(file->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  // How sessions end every day is no entry: another one of the device came, and the coordinator stopped.
  const auto first = Connect("dev-2");
  const auto second = Connect("dev-2");
  EXPECT_EQ(first->End().error_code(), grpc::StatusCode::ABORTED);
  server_.reset();
  EXPECT_THAT(Texts(), testing::UnorderedElementsAre("Connect dev-1 INVALID_ARGUMENT",
                                                     "FetchModel " + fetch.sha256() + " NOT_FOUND"));
}

TEST_F(AuditTest, MessagesThatAreTooLargeAreRefused) {
  StartServer([](v1::CoordinatorConfig* config) { config->mutable_access_limits()->set_message_bytes(1 << 20); });
  v1::SubmitJobRequest request = Request();
  request.mutable_spec()->set_display_name(std::string(2 << 20, 'x'));
  EXPECT_EQ(Submit(request).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace ballast::coordinator
