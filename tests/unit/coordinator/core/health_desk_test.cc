#include "coordinator/core/health_desk.h"

#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class HealthDeskTest : public CoreTest {
 protected:
  HealthDeskTest() {
    options_.scheduling.quarantine_after = 2;
    options_.scheduling.health_check_interval = minutes(5);
    options_.scheduling.health_check = Spec();
    Restart();
  }
  // A job's only run ends so on the device.
  void RunEnds(SessionId session, v1::OutcomeKind kind) {
    const absl::StatusOr<v1::Job> job = Submit(Spec());
    ASSERT_TRUE(job.ok()) << job.status();
    Started(session, job->job_id() + ".1");
    Finished(session, job->job_id() + ".1", kind);
  }
  // Time passes with signs of life.
  void Live(SessionId session, std::chrono::nanoseconds time) {
    for (; time > seconds(0); time -= seconds(10)) {
      AdvanceTicking(std::min<std::chrono::nanoseconds>(time, seconds(10)));
      Heartbeat(session, Device("a").active_run_id(), Device("a").active_run_id().empty() ? 0 : 1);
    }
  }
  // The self-test that is due ends so. Returns its job.
  std::string SelfTest(SessionId session, v1::OutcomeKind kind) {
    const std::vector<WantJob> wanted = TakeWanted();
    EXPECT_THAT(wanted, SizeIs(1));
    if (wanted.empty()) return "";
    const absl::StatusOr<v1::Job> job = SubmitWanted(wanted.front());
    EXPECT_TRUE(job.ok()) << job.status();
    Started(session, job->job_id() + ".1");
    Finished(session, job->job_id() + ".1", kind);
    return job->job_id();
  }
};

TEST_F(HealthDeskTest, FailuresInARowEndInQuarantineAndAPassedSelfTestEndsIt) {
  SessionId session = Connect("a");
  RunEnds(session, v1::WORKER_CRASHED);
  RunEnds(session, v1::OOM_KILLED);  // a finding, and a sign of health
  RunEnds(session, v1::DEVICE_REBOOTED);
  EXPECT_EQ(Device("a").state(), v1::Device::READY);
  EXPECT_EQ(Device("a").health().failure_count(), 1U);
  v1::JobSpec two = Spec();
  two.set_repetitions(2);
  ASSERT_TRUE(Submit(two).ok());
  Started(session, "j-4.1");
  Finished(session, "j-4.1", v1::WORKER_CRASHED);
  EXPECT_EQ(Device("a").state(), v1::Device::QUARANTINED);
  EXPECT_THAT(Device("a").health().reason(),
              HasSubstr("2 attempts in a row failed, the last of run j-4.1 as WORKER_CRASHED"));
  EXPECT_THAT(WaitsFor("j-4"), ElementsAre(HasSubstr("1 DEVICE_QUARANTINED: device a is in quarantine since")));
  // Nothing goes there, and nobody can send something there.
  EXPECT_EQ(Submit(Spec()).status().code(), absl::StatusCode::kFailedPrecondition);
  Live(session, minutes(4));
  EXPECT_THAT(TakeWanted(), IsEmpty());
  EXPECT_EQ(Device("a").active_run_id(), "");
  Live(session, minutes(1));
  EXPECT_THAT(Job(SelfTest(session, v1::COMPLETED)).health_check_device_id(), "a");
  EXPECT_FALSE(Device("a").health().has_quarantine_time());
  EXPECT_EQ(Device("a").health().failure_count(), 0U);
  EXPECT_EQ(Device("a").active_run_id(), "j-4.2");
}

TEST_F(HealthDeskTest, SelfTestsComeLessAndLessOftenAndSurviveARestart) {
  SessionId session = Connect("a");
  RunEnds(session, v1::WORKER_CRASHED);
  RunEnds(session, v1::WORKER_CRASHED);
  for (const minutes pause : {minutes(5), minutes(10), minutes(20)}) {
    Live(session, pause - seconds(10));
    EXPECT_THAT(TakeWanted(), IsEmpty());
    Restart();
    session = Connect("a");
    Live(session, seconds(20));
    (void)SelfTest(session, v1::WORKER_CRASHED);
    EXPECT_EQ(Device("a").state(), v1::Device::QUARANTINED);
  }
  EXPECT_EQ(Device("a").health().failed_check_count(), 3U);
  EXPECT_EQ(base::FromProto(Device("a").health().next_check_time()), now_.wall + minutes(40));
}

TEST_F(HealthDeskTest, TheLongestPauseIsADay) {
  options_.scheduling.health_check_interval = hours(20);
  Restart();
  SessionId session = Connect("a");
  RunEnds(session, v1::WORKER_CRASHED);
  RunEnds(session, v1::WORKER_CRASHED);
  Live(session, hours(20));
  (void)SelfTest(session, v1::WORKER_CRASHED);
  EXPECT_EQ(base::FromProto(Device("a").health().next_check_time()), now_.wall + hours(24));
}

TEST_F(HealthDeskTest, AUserEndsTheQuarantineAtOnce) {
  const SessionId session = Connect("a");
  v1::JobSpec spec = Spec();
  spec.set_repetitions(3);
  ASSERT_TRUE(Submit(spec).ok());
  for (const char* run : {"j-1.1", "j-1.2"}) {
    Started(session, run);
    Finished(session, run, v1::WORKER_CRASHED);
  }
  EXPECT_EQ(Device("a").state(), v1::Device::QUARANTINED);
  ASSERT_TRUE(core_->SetDrained(now_, "a", false, &actions_).ok());
  Settle();
  EXPECT_EQ(Device("a").active_run_id(), "j-1.3");
  Live(session, minutes(10));
  EXPECT_THAT(TakeWanted(), IsEmpty());
}

TEST_F(HealthDeskTest, ASelfTestIsWantedOnceAndAgainWhenNothingCame) {
  const SessionId session = Connect("a");
  RunEnds(session, v1::WORKER_CRASHED);
  RunEnds(session, v1::WORKER_CRASHED);
  Live(session, minutes(5));
  const std::vector<WantJob> first = TakeWanted();
  ASSERT_THAT(first, SizeIs(1));
  Live(session, minutes(1));
  const std::vector<WantJob> second = TakeWanted();
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_EQ(first.front().request_id, second.front().request_id);
  EXPECT_EQ(SubmitWanted(first.front())->job_id(), SubmitWanted(second.front())->job_id());
  EXPECT_EQ(Device("a").health().check_job_id(), Device("a").active_run_id().substr(0, 3));
  // One that cannot be submitted is tried again after its pause, and people are told.
  Started(session, Device("a").active_run_id());
  Finished(session, Device("a").active_run_id(), v1::DEVICE_REBOOTED);
  Live(session, minutes(10));
  const std::vector<WantJob> third = TakeWanted();
  ASSERT_THAT(third, SizeIs(1));
  core_->WantedJobFailed(now_, third.front().origin, "no such model", &actions_);
  Settle();
  EXPECT_THAT(Device("a").health().reason(), HasSubstr("its self-test cannot be submitted: no such model"));
  EXPECT_EQ(base::FromProto(Device("a").health().next_check_time()), now_.wall + minutes(10));
}

TEST_F(HealthDeskTest, ASelfTestHasItsTurnInAFullFleet) {
  options_.scheduling.max_parallel_runs = 1;
  Restart();
  const SessionId a = Connect("a");
  const SessionId b = Connect("b");
  const auto only_on = [](const char* device_id, std::uint32_t repetitions) {
    v1::JobSpec spec = Spec();
    spec.mutable_devices()->clear_all();
    spec.mutable_devices()->add_device_ids(device_id);
    spec.set_repetitions(repetitions);
    return spec;
  };
  for (const char* run_id : {"j-1.1", "j-2.1"}) {
    ASSERT_TRUE(Submit(only_on("a", 1)).ok());
    Started(a, run_id);
    Finished(a, run_id, v1::WORKER_CRASHED);
  }
  ASSERT_EQ(Device("a").state(), v1::Device::QUARANTINED);
  ASSERT_TRUE(Submit(only_on("b", 100)).ok());
  int done = 0;
  for (; done < 100 && Device("a").active_run_id().empty(); ++done) {
    const std::string run_id = Device("b").active_run_id();
    Started(b, run_id);
    for (int i = 0; i < 12; ++i) {
      AdvanceTicking(seconds(5));
      Heartbeat(a);
      Heartbeat(b, run_id, 1);
    }
    for (const WantJob& want : TakeWanted()) ASSERT_TRUE(SubmitWanted(want).ok());
    Finished(b, run_id);
  }
  EXPECT_LT(done, 10) << "the self-test is wanted after five minutes";
  EXPECT_FALSE(Device("a").active_run_id().empty());
}

TEST_F(HealthDeskTest, ADeviceThatIsAwayIsTestedWhenItComesBack) {
  SessionId session = Connect("a");
  RunEnds(session, v1::WORKER_CRASHED);
  RunEnds(session, v1::WORKER_CRASHED);
  Disconnect(session);
  AdvanceTicking(hours(1));
  EXPECT_THAT(TakeWanted(), IsEmpty());
  EXPECT_FALSE(core_->NextWakeUp().has_value());
  session = Connect("a");
  AdvanceTicking(seconds(1));
  (void)SelfTest(session, v1::COMPLETED);
  EXPECT_EQ(Device("a").state(), v1::Device::READY);
}

}  // namespace
}  // namespace ballast::core
