#include <fstream>
#include <map>
#include <memory>

#include "ballast/v1/planning_service.grpc.pb.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"

#include "grpcpp/grpcpp.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;

// Keeps what is put, unless `put_status` says otherwise; `resume_status` for what is resumed.
class FakeSchedules final : public v1::ScheduleService::Service {
 public:
  explicit FakeSchedules(const std::filesystem::path& directory) : address_("unix:" + (directory / "s.sock").string()) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  [[nodiscard]] const std::string& address() const { return address_; }

  grpc::Status PutSchedule(grpc::ServerContext*, const v1::PutScheduleRequest* request,
                           v1::Schedule* response) override {
    if (!put_status.ok()) return rpc::ToGrpc(put_status);
    *response = schedules[request->schedule().schedule_id()] = request->schedule();
    return grpc::Status::OK;
  }
  grpc::Status ListSchedules(grpc::ServerContext*, const v1::ListSchedulesRequest* request,
                             v1::ListSchedulesResponse* response) override {
    for (const auto& [name, schedule] : schedules) {
      if (request->schedule_id().empty() || request->schedule_id() == name) *response->add_schedules() = schedule;
    }
    return grpc::Status::OK;
  }

  grpc::Status PauseSchedule(grpc::ServerContext*, const v1::PauseScheduleRequest* request,
                             v1::Schedule* response) override {
    return SetPaused(request->schedule_id(), true, request->requester(), response);
  }
  grpc::Status ResumeSchedule(grpc::ServerContext*, const v1::ResumeScheduleRequest* request,
                              v1::Schedule* response) override {
    if (!resume_status.ok()) return rpc::ToGrpc(resume_status);
    return SetPaused(request->schedule_id(), false, request->requester(), response);
  }

  absl::Status put_status;
  absl::Status resume_status;
  std::string requester;
  std::map<std::string, v1::Schedule> schedules;

 private:
  grpc::Status SetPaused(const std::string& name, bool paused, const std::string& asked_by, v1::Schedule* response) {
    if (!schedules.contains(name)) return rpc::ToGrpc(absl::NotFoundError("no schedule '" + name + "'"));
    requester = asked_by;
    schedules[name].set_paused(paused);
    *response = schedules[name];
    return grpc::Status::OK;
  }

  const std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

class ScheduleCommandsTest : public CommandTest {
 protected:
  ScheduleCommandsTest() {
    variables_["BALLAST_COORDINATOR"] = fake_.address();
    fake_.schedules["nightly"].set_schedule_id("nightly");
  }
  FakeSchedules fake_{directory_.path()};
};

TEST_F(ScheduleCommandsTest, AMistypedNameIsMetWithTheNearest) {
  EXPECT_EQ(Run({"schedules", "show", "nigthly"}), 4);
  EXPECT_EQ(err(), "error: no schedule 'nigthly'; did you mean 'nightly'?\n  try: ballast schedules list\n");
  for (const char* verb : {"show", "pause", "resume"}) {
    EXPECT_EQ(Run({"schedules", verb, "nope"}), 4);
    EXPECT_EQ(err(), "error: no schedule 'nope'\n  try: ballast schedules list\n") << verb;
  }
}

TEST_F(ScheduleCommandsTest, PausesAndResumesUnderTheUsersName) {
  variables_["USER"] = "ada";
  EXPECT_EQ(Run({"schedules", "pause", "nightly"}), 0) << err();
  EXPECT_TRUE(fake_.schedules["nightly"].paused());
  EXPECT_EQ(fake_.requester, "ada");
  variables_["USER"] = "bob";
  EXPECT_EQ(Run({"schedules", "resume", "nightly"}), 0) << err();
  EXPECT_FALSE(fake_.schedules["nightly"].paused());
  EXPECT_EQ(fake_.requester, "bob");
}

TEST_F(ScheduleCommandsTest, WhatKeepsAScheduleFromBeingResumedIsNamedWithItsNextStep) {
  fake_.schedules["nightly"].mutable_job()->mutable_workload()->mutable_pressure();
  fake_.resume_status = absl::FailedPreconditionError("device d-1 is drained (ballast devices resume d-1)");
  EXPECT_EQ(Run({"schedules", "resume", "nightly"}), 6);
  EXPECT_THAT(err(), HasSubstr("  try: ballast devices resume d-1\n"));
  fake_.resume_status = absl::NotFoundError("no device has the label rack=x");
  EXPECT_EQ(Run({"schedules", "resume", "nightly"}), 4);
  EXPECT_THAT(err(), HasSubstr("  try: ballast devices list\n"));
  fake_.resume_status = absl::PermissionDeniedError("schedule nightly is ada's, not bob's");
  EXPECT_EQ(Run({"schedules", "resume", "nightly"}), 3);
  EXPECT_THAT(err(), HasSubstr("  try: ask an administrator to do it\n"));
}

TEST_F(ScheduleCommandsTest, TheNextStepIsAboutWhatWasRefused) {
  const std::filesystem::path file = directory_.path() / "job.yaml";
  std::ofstream(file) << "workload: {pressure: {burst: {target_percent: 60%}}}\n";
  const auto step = [&](const absl::Status& status) {
    fake_.put_status = status;
    EXPECT_NE(Run({"schedules", "put", file.string(), "--name", "nightly", "--cron", "0 2 * * *"}), 0);
    const std::string text = err();
    return text.substr(text.find("  try: "));
  };
  EXPECT_THAT(step(absl::InvalidArgumentError("cron: the hour '25' is none")), HasSubstr("--cron '0 2 * * *'"));
  EXPECT_THAT(step(absl::InvalidArgumentError("time_zone: 'Mars' is none")), HasSubstr("--time-zone Europe/Berlin"));
  EXPECT_THAT(step(absl::InvalidArgumentError("job: repetitions: must be at least 1")), HasSubstr("mend the job file"));
  EXPECT_EQ(step(absl::FailedPreconditionError("the job cannot run: device d-1 is drained (ballast devices resume "
                                               "d-1)")),
            "  try: ballast devices resume d-1\n");
  EXPECT_EQ(step(absl::NotFoundError("no device has the label rack=x")), "  try: ballast devices list\n");
  EXPECT_THAT(step(absl::FailedPreconditionError("there are 2 devices and the job does not say which: a, b")),
              HasSubstr("--set devices.all=true"));
  EXPECT_THAT(step(absl::FailedPreconditionError("there are 1000 schedules already, as many as may be")),
              HasSubstr("ballast schedules delete NAME"));
}

}  // namespace
}  // namespace ballast::cli
