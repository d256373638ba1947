#include "coordinator/core/run_queue.h"

#include "coordinator/core/job_variants.h"
#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class RunQueueTest : public CoreTest {
 protected:
  // Carries runs out on the device, each for `time`, and says which, until nothing waits for it or `most` were.
  std::vector<std::string> Drive(SessionId session, const std::string& device_id, int most,
                                 std::chrono::nanoseconds time = seconds(10)) {
    std::vector<std::string> order;
    while (static_cast<int>(order.size()) < most && !Device(device_id).active_run_id().empty()) {
      const std::string run_id = Device(device_id).active_run_id();
      order.push_back(run_id);
      Started(session, run_id);
      for (std::chrono::nanoseconds left = time; left > seconds(0); left -= seconds(5)) {
        AdvanceTicking(std::min<std::chrono::nanoseconds>(left, seconds(5)));
        Heartbeat(session, run_id, 1);
      }
      Finished(session, run_id);
    }
    return order;
  }
  static v1::JobSpec Prioritised(std::int32_t priority, std::uint32_t repetitions = 1) {
    v1::JobSpec spec = Spec();
    spec.set_priority(priority);
    spec.set_repetitions(repetitions);
    return spec;
  }
  static v1::JobSpec OnAnyOf(std::uint32_t count, std::uint32_t repetitions = 1) {
    v1::JobSpec spec = Spec();
    spec.mutable_devices()->set_count(count);
    spec.set_repetitions(repetitions);
    return spec;
  }
};

TEST_F(RunQueueTest, TheSubmitterWithTheLeastUseComesFirst) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Prioritised(0, 4), "", "ada").ok());
  ASSERT_TRUE(Submit(Prioritised(0, 1), "", "ada").ok());
  Advance(hours(1));  // however much older hers are
  Heartbeat(session, "j-1.1", 1);
  ASSERT_TRUE(Submit(Prioritised(0, 2), "", "bob").ok());
  ASSERT_TRUE(Submit(Prioritised(0, 1), "", "eve").ok());
  EXPECT_THAT(Drive(session, "a", 9),
              ElementsAre("j-1.1", "j-3.1", "j-4.1", "j-3.2", "j-1.2", "j-1.3", "j-1.4", "j-2.1"));
}

TEST_F(RunQueueTest, UseIsKnownAfterARestartFromTheRunsOfOpenJobs) {
  SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Prioritised(0, 3), "", "ada").ok());
  EXPECT_THAT(Drive(session, "a", 1, minutes(5)), ElementsAre("j-1.1"));
  ASSERT_TRUE(Submit(Prioritised(0, 1), "", "bob").ok());
  Restart();
  session = Connect("a", {}, {{"j-1.2", 1}});
  EXPECT_THAT(Drive(session, "a", 3), ElementsAre("j-1.2", "j-2.1", "j-1.3"));
}

TEST_F(RunQueueTest, WaitingRaisesALowPriorityUntilItHasItsTurn) {
  options_.scheduling.priority_step = minutes(10);
  Restart();
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Prioritised(2, 40), "", "ada").ok());
  ASSERT_TRUE(Submit(Prioritised(0, 2), "", "bob").ok());
  const std::vector<std::string> order = Drive(session, "a", 16, minutes(3));
  std::vector<std::size_t> turns;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (order[i].starts_with("j-2.")) turns.push_back(i);
  }
  // Two steps of ten minutes are over after seven runs of three; then it waits anew.
  EXPECT_THAT(turns, ElementsAre(7U, 15U)) << testing::PrintToString(order);
}

TEST_F(RunQueueTest, RunsForAnyDeviceGoToWhicheverIsFreeFirst) {
  const SessionId a = Connect("a");
  const SessionId b = Connect("b");
  Connect("c");
  v1::JobSpec busy = Spec();
  busy.mutable_devices()->clear_all();
  busy.mutable_devices()->add_device_ids("b");
  ASSERT_TRUE(Submit(busy).ok());
  const absl::StatusOr<v1::Job> job = Submit(OnAnyOf(2, 2));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->run_count(), 4U);
  EXPECT_EQ(Run("j-2.1").device_id(), "a");
  EXPECT_EQ(Run("j-2.2").device_id(), "c");
  EXPECT_EQ(Run("j-2.3").device_id(), "");
  Started(b, "j-1.1");
  Finished(b, "j-1.1");
  EXPECT_EQ(Run("j-2.3").device_id(), "b");
  // No two runs of one repetition on the same device: a has had none of the second.
  Started(a, "j-2.1");
  Finished(a, "j-2.1");
  EXPECT_EQ(Run("j-2.4").device_id(), "a");
  EXPECT_THAT(WaitsFor("j-2"), IsEmpty());
}

TEST_F(RunQueueTest, ADeviceGetsNoSecondRunOfARepetition) {
  const SessionId a = Connect("a");
  const SessionId b = Connect("b");
  Disconnect(b);
  ASSERT_TRUE(Submit(OnAnyOf(2, 3)).ok());
  EXPECT_THAT(Drive(a, "a", 9), ElementsAre("j-1.1", "j-1.3", "j-1.5"));
  EXPECT_EQ(Device("a").state(), v1::Device::READY);
  EXPECT_THAT(WaitsFor("j-1"), ElementsAre(HasSubstr("3 DEVICE_OFFLINE: device b is not connected")));
  // Also after a restart.
  Restart();
  const SessionId again = Connect("a");
  EXPECT_THAT(Said(again), ElementsAre("welcome"));
  EXPECT_THAT(Drive(Connect("b"), "b", 9), ElementsAre("j-1.2", "j-1.4", "j-1.6"));
  EXPECT_EQ(Job("j-1").state(), v1::Job::FINISHED);
}

TEST_F(RunQueueTest, ADeviceThatComesLaterTakesPart) {
  Connect("a", {{"rack", "x"}});
  v1::JobSpec spec = OnAnyOf(1, 3);
  spec.mutable_devices()->clear_all();
  spec.mutable_devices()->set_expression("rack in (x, y), !broken");
  ASSERT_TRUE(Submit(spec).ok());
  EXPECT_THAT(Said(Connect("b", {{"rack", "z"}})), ElementsAre("welcome"));
  EXPECT_THAT(Said(Connect("c", {{"rack", "y"}, {"broken", "yes"}})), ElementsAre("welcome"));
  EXPECT_THAT(Said(Connect("d", {{"rack", "y"}})), ElementsAre("welcome", "assign j-1.2/1"));
  // A label that is set by a user counts too.
  v1::LabelDeviceRequest request;
  request.set_device_id("b");
  (*request.mutable_set())["rack"] = "x";
  ASSERT_TRUE(core_->LabelDevice(now_, request, &actions_).ok());
  Settle();
  EXPECT_EQ(Run("j-1.3").device_id(), "b");
}

TEST_F(RunQueueTest, WhatADeviceRefusedGoesToAnotherAndWhatBeganStays) {
  const SessionId a = Connect("a");
  const SessionId b = Connect("b");
  v1::JobSpec spec = OnAnyOf(1);
  spec.mutable_policy()->set_max_attempts(3);
  ASSERT_TRUE(Submit(spec).ok());
  EXPECT_THAT(Said(a), ElementsAre("welcome", "assign j-1.1/1"));
  Refuse(a, "j-1.1", v1::OUTCOME_KIND_UNSPECIFIED);
  EXPECT_THAT(Said(b), ElementsAre("welcome", "assign j-1.1/1"));
  EXPECT_EQ(Run("j-1.1").device_id(), "b");
  Started(b, "j-1.1");
  Finished(b, "j-1.1", v1::DEVICE_REBOOTED);
  EXPECT_THAT(Said(b), testing::Contains("assign j-1.1/2"));
  EXPECT_EQ(Run("j-1.1").device_id(), "b");
}

TEST_F(RunQueueTest, WhatADeviceCannotDoGoesToOthersAndIsNotAskedOfItAgain) {
  const SessionId a = Connect("a");
  const SessionId b = Connect("b");
  ASSERT_TRUE(Submit(OnAnyOf(1, 3)).ok());
  EXPECT_THAT(Said(a), ElementsAre("welcome", "assign j-1.1/1"));
  Refuse(a, "j-1.1", v1::INVALID);
  EXPECT_THAT(Said(a), IsEmpty());
  EXPECT_EQ(Device("a").state(), v1::Device::READY);
  // Of another job it may have runs, and of this one again after a hello, which may bring another policy.
  EXPECT_THAT(Drive(b, "b", 1), ElementsAre("j-1.2"));
  ASSERT_TRUE(Submit(Prioritised(0)).ok());
  EXPECT_EQ(Device("a").active_run_id(), "j-2.1");
  Started(a, "j-2.1");
  Finished(a, "j-2.1");
  EXPECT_EQ(Device("a").active_run_id(), "");
  EXPECT_EQ(Device("b").active_run_id(), "j-1.1");
  EXPECT_THAT(Said(Connect("a")), ElementsAre("welcome", "assign j-1.3/1"));
}

TEST_F(RunQueueTest, ARunEndsWhenNoDeviceIsLeftThatCanDoIt) {
  const SessionId a = Connect("a");
  const SessionId b = Connect("b");
  ASSERT_TRUE(Submit(OnAnyOf(2, 2)).ok());
  ASSERT_EQ(Device("b").active_run_id(), "j-1.2");
  Refuse(b, "j-1.2", v1::INVALID);
  // a has the other run of the repetition.
  EXPECT_EQ(Run("j-1.2").state(), v1::Run::ENDED);
  EXPECT_EQ(Run("j-1.2").outcome().kind(), v1::INVALID);
  EXPECT_EQ(Run("j-1.2").outcome().message(), "no other device is left for it; because");
  EXPECT_EQ(Run("j-1.2").device_id(), "b");
  EXPECT_EQ(Run("j-1.4").state(), v1::Run::QUEUED);
  // Of the next repetition, once a has its run.
  Started(a, "j-1.1");
  Finished(a, "j-1.1");
  EXPECT_EQ(Device("a").active_run_id(), "j-1.3");
  EXPECT_EQ(Run("j-1.4").outcome().kind(), v1::INVALID);
  Started(a, "j-1.3");
  Finished(a, "j-1.3");
  EXPECT_EQ(Job("j-1").state(), v1::Job::FINISHED);
  // Where every device refuses, all end at once.
  ASSERT_TRUE(Submit(OnAnyOf(1, 3)).ok());
  Refuse(a, "j-2.1", v1::ENVIRONMENT_REFUSED);
  Refuse(b, "j-2.2", v1::ENVIRONMENT_REFUSED);
  EXPECT_EQ(Job("j-2").state(), v1::Job::FINISHED);
  EXPECT_EQ(Run("j-2.3").outcome().kind(), v1::ENVIRONMENT_REFUSED);
  // One whose earlier attempt may be alive on the device ends there.
  v1::JobSpec spec = OnAnyOf(1);
  spec.mutable_policy()->set_max_attempts(2);
  ASSERT_TRUE(Submit(spec).ok());
  const SessionId first = Run("j-3.1").device_id() == "a" ? a : b;
  Started(first, "j-3.1");
  Finished(first, "j-3.1", v1::WORKER_CRASHED);
  Refuse(first, "j-3.1", v1::INVALID, 2);
  EXPECT_EQ(Run("j-3.1").outcome().kind(), v1::INVALID);
}

// What it refuses is a variant: it may well do another.
TEST_F(RunQueueTest, OfAMatrixADeviceIsAskedForWhatItHasNotRefused) {
  const SessionId a = Connect("a");
  v1::JobSpec spec = OnAnyOf(1, 2);
  for (const char* environment : {"large", "small"}) {
    spec.mutable_matrix()->add_environments(environment);
    spec.mutable_matrix()->add_environment_profiles()->set_name(environment);
  }
  ASSERT_TRUE(Submit(spec).ok());
  ASSERT_EQ(Run("j-1.1").matrix_environment(), "large");
  Refuse(a, "j-1.1", v1::ENVIRONMENT_REFUSED);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::ENVIRONMENT_REFUSED);
  EXPECT_THAT(Drive(a, "a", 9), ElementsAre("j-1.2", "j-1.3"));
  EXPECT_EQ(Run("j-1.3").matrix_environment(), "small");
  EXPECT_EQ(Run("j-1.4").outcome().kind(), v1::ENVIRONMENT_REFUSED);
  EXPECT_EQ(Job("j-1").state(), v1::Job::FINISHED);
}

TEST_F(RunQueueTest, ARefusedRunEndsWhenTheLastDeviceForItLeaves) {
  const SessionId a = Connect("a");
  Disconnect(Connect("b", {{"rack", "x"}}));
  v1::JobSpec spec = OnAnyOf(1);
  spec.mutable_devices()->set_expression("!broken");
  ASSERT_TRUE(Submit(spec).ok());
  Refuse(a, "j-1.1", v1::INVALID);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::QUEUED);
  ASSERT_TRUE(core_->RemoveDevice(now_, "b", &actions_).ok());
  Settle();
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::INVALID);
  // By a label, too.
  Connect("c");
  ASSERT_TRUE(Submit(spec).ok());
  Refuse(a, "j-2.1", v1::INVALID);
  ASSERT_EQ(Run("j-2.1").device_id(), "c");
  v1::LabelDeviceRequest broken;
  broken.set_device_id("c");
  (*broken.mutable_set())["broken"] = "yes";
  ASSERT_TRUE(core_->LabelDevice(now_, broken, &actions_).ok());
  Settle();
  EXPECT_EQ(Run("j-2.1").state(), v1::Run::ASSIGNED) << "what it has, it has";
}

TEST_F(RunQueueTest, MoreDevicesThanThereAreIsRefused) {
  Connect("a");
  Connect("b");
  const absl::Status status = Submit(OnAnyOf(3)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("wants 3 devices, and 2 can do it"));
}

TEST_F(RunQueueTest, AJobRunsOnNoMoreDevicesAtOnceThanItAllows) {
  std::map<std::string, SessionId> sessions;
  for (const char* name : {"a", "b", "c"}) sessions[name] = Connect(name);
  v1::JobSpec spec = Spec();
  spec.set_max_parallel_runs(2);
  ASSERT_TRUE(Submit(spec).ok());
  EXPECT_EQ(Run("j-1.3").state(), v1::Run::QUEUED);
  EXPECT_THAT(WaitsFor("j-1"), ElementsAre("1 JOB_LIMIT: 2 of its runs go on, as many as max_parallel_runs allows"));
  Started(sessions["b"], "j-1.2");
  Finished(sessions["b"], "j-1.2");
  EXPECT_EQ(Run("j-1.3").state(), v1::Run::ASSIGNED);
}

TEST_F(RunQueueTest, AFleetAtItsBoundGivesTheNextPlaceToTheFirstInOrder) {
  options_.scheduling.max_parallel_runs = 1;
  Restart();
  const SessionId a = Connect("a");
  Connect("b");
  ASSERT_TRUE(Submit(Prioritised(0, 2)).ok());
  v1::JobSpec urgent = Prioritised(5);
  urgent.mutable_devices()->clear_all();
  urgent.mutable_devices()->add_device_ids("b");
  ASSERT_TRUE(Submit(urgent).ok());
  EXPECT_EQ(Device("a").active_run_id(), "j-1.1");
  EXPECT_EQ(Device("b").active_run_id(), "");
  EXPECT_THAT(WaitsFor("j-2"),
              ElementsAre("1 FLEET_LIMIT: 1 runs go on in the fleet, as many as the coordinator allows"));
  Started(a, "j-1.1");
  Finished(a, "j-1.1");
  EXPECT_EQ(Device("a").active_run_id(), "");
  EXPECT_EQ(Device("b").active_run_id(), "j-2.1");
}

TEST_F(RunQueueTest, ADeviceRestsAfterARun) {
  options_.scheduling.cool_down = seconds(30);
  Restart();
  SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Prioritised(0, 2)).ok());
  Started(session, "j-1.1");
  Finished(session, "j-1.1");
  EXPECT_EQ(Device("a").active_run_id(), "");
  EXPECT_EQ(base::FromProto(Device("a").cool_down_until_time()), now_.wall + seconds(30));
  EXPECT_THAT(WaitsFor("j-1"), ElementsAre(HasSubstr("1 DEVICE_COOLING_DOWN: device a rests after a run until")));
  // Not less because of a restart.
  AdvanceTicking(seconds(10));
  Restart();
  session = Connect("a");
  AdvanceTicking(seconds(10));
  Heartbeat(session);
  EXPECT_EQ(Device("a").active_run_id(), "");
  AdvanceTicking(seconds(11));
  EXPECT_EQ(Device("a").active_run_id(), "j-1.2");
  EXPECT_FALSE(Device("a").has_cool_down_until_time());
}

TEST_F(RunQueueTest, AMatrixIsEveryVariantOnEveryDeviceAndNoneIsAlwaysFirst) {
  const SessionId a = Connect("a");
  v1::JobSpec spec = Spec();
  spec.set_repetitions(2);
  spec.set_environment("");
  spec.mutable_matrix()->add_environments("none");
  spec.mutable_matrix()->add_environments("small");
  spec.mutable_matrix()->add_environment_profiles();
  spec.mutable_matrix()->add_environment_profiles()->set_name("small");
  ASSERT_TRUE(Submit(spec).ok());
  std::vector<std::string> order;
  for (int n = 1; n <= 4; ++n) order.push_back(Run("j-1." + std::to_string(n)).matrix_environment());
  EXPECT_THAT(order, ElementsAre("none", "small", "small", "none"));
  (void)Drive(a, "a", 2);
  std::vector<std::string> environments;
  for (const v1::CoordinatorMessage& message : messages_[a]) {
    if (!message.has_assignment()) continue;
    EXPECT_FALSE(message.assignment().spec().has_matrix());
    environments.push_back(message.assignment().spec().environment());
    EXPECT_EQ(message.assignment().spec().environment_profile().name(), environments.back());
  }
  EXPECT_THAT(environments, ElementsAre("", "small", "small"));
}

TEST_F(RunQueueTest, AMatrixOverQuantsSendsEachItsModel) {
  v1::Job job;
  job.mutable_spec()->mutable_workload()->mutable_model()->mutable_load()->set_model_id("m");
  for (const char* quant : {"Q4_K_M", "Q8_0"}) {
    job.mutable_spec()->mutable_matrix()->add_quants(quant);
    job.add_models()->set_quant(quant);
  }
  v1::Run run;
  run.set_matrix_quant("Q8_0");
  v1::Assignment assignment;
  FillVariant(job, run, &assignment);
  EXPECT_EQ(assignment.spec().workload().model().load().quant(), "Q8_0");
  ASSERT_EQ(assignment.models_size(), 1);
  EXPECT_EQ(assignment.models(0).quant(), "Q8_0");
}

}  // namespace
}  // namespace ballast::core
