#include "coordinator/core/schedule_desk.h"

#include "coordinator/core/utc_text.h"
#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// It is 2023-11-14 22:13:20 UTC.
class ScheduleDeskTest : public CoreTest {
 protected:
  ScheduleDeskTest() {
    options_.find_time_zone = [](const std::string& name) -> absl::StatusOr<absl::TimeZone> {
      absl::TimeZone zone;
      if (!absl::LoadTimeZone(name, &zone)) return absl::InvalidArgumentError("no such zone");
      return zone;
    };
    Restart();
  }
  static v1::Schedule Nightly() {
    v1::Schedule schedule;
    schedule.set_schedule_id("nightly");
    schedule.set_cron("0 2 * * *");
    *schedule.mutable_job() = Spec();
    *schedule.mutable_catch_up() = base::ToProto(hours(1));
    schedule.set_submitter("ada");
    return schedule;
  }
  absl::StatusOr<v1::Schedule> Put(v1::Schedule schedule, bool administrator = false) {
    absl::StatusOr<v1::Schedule> put = core_->SetSchedule(now_, std::move(schedule), administrator, &actions_);
    Settle();
    return put;
  }
  [[nodiscard]] const v1::Schedule& Kept() const { return kept_.schedules.at("nightly"); }
  [[nodiscard]] std::string Next() const {
    return Kept().has_next_time() ? UtcText(base::FromProto(Kept().next_time())) : "never";
  }
};

TEST_F(ScheduleDeskTest, WantsItsJobAtItsTimes) {
  Connect("a");
  const absl::StatusOr<v1::Schedule> put = Put(Nightly());
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(Next(), "2023-11-15 02:00:00Z");
  AdvanceTicking(hours(3));
  EXPECT_THAT(TakeWanted(), IsEmpty());
  AdvanceTicking(hours(1));
  std::vector<WantJob> wanted = TakeWanted();
  // Again and again as long as nothing comes, under one request.
  ASSERT_GE(wanted.size(), 2U);
  EXPECT_EQ(UtcText(wanted.front().origin.scheduled_time), "2023-11-15 02:00:00Z");
  EXPECT_EQ(wanted.front().submitter, "ada");
  const absl::StatusOr<v1::Job> job = SubmitWanted(wanted.front());
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(SubmitWanted(wanted.back())->job_id(), job->job_id());
  EXPECT_EQ(Job(job->job_id()).schedule_id(), "nightly");
  EXPECT_EQ(Kept().last_job_id(), job->job_id());
  EXPECT_EQ(Next(), "2023-11-16 02:00:00Z");
}

TEST_F(ScheduleDeskTest, ATimeComesOnceAlsoOverARestartAndAClockThatIsSet) {
  Connect("a");
  ASSERT_TRUE(Put(Nightly()).ok());
  AdvanceTicking(hours(3) + minutes(47));
  ASSERT_THAT(TakeWanted(), SizeIs(1));
  Restart();  // before the job was there
  const std::vector<WantJob> wanted = TakeWanted();
  ASSERT_THAT(wanted, SizeIs(1));
  ASSERT_TRUE(SubmitWanted(wanted.front()).ok());
  now_.wall -= minutes(50);
  Restart();
  AdvanceTicking(hours(3));
  EXPECT_THAT(TakeWanted(), IsEmpty());
  EXPECT_EQ(Next(), "2023-11-16 02:00:00Z");
}

TEST_F(ScheduleDeskTest, AClockThatWasFarAheadDoesNotSilenceIt) {
  Connect("a");
  v1::Schedule schedule = Nightly();
  schedule.set_allow_overlap(true);
  ASSERT_TRUE(Put(schedule).ok());
  now_.wall += hours(24 * 365);  // 2024-11-13 22:13:20
  AdvanceTicking(hours(4));
  ASSERT_TRUE(SubmitWanted(TakeWanted().at(0)).ok());
  ASSERT_EQ(UtcText(base::FromProto(Kept().last_time())), "2024-11-14 02:00:00Z");
  ASSERT_EQ(Next(), "2024-11-15 02:00:00Z");

  now_.wall -= hours(24 * 365);  // 2023-11-15 02:13:20
  AdvanceTicking(minutes(2));
  EXPECT_EQ(Next(), "2023-11-16 02:00:00Z");
  EXPECT_FALSE(Kept().has_last_time());
  EXPECT_THAT(TakeWanted(), IsEmpty());
  AdvanceTicking(hours(24));
  const std::vector<WantJob> wanted = TakeWanted();
  ASSERT_FALSE(wanted.empty());
  EXPECT_EQ(UtcText(wanted.front().origin.scheduled_time), "2023-11-16 02:00:00Z");
  ASSERT_TRUE(SubmitWanted(wanted.front()).ok());
  EXPECT_EQ(Next(), "2023-11-17 02:00:00Z");
}

TEST_F(ScheduleDeskTest, OneThatWasPutByAClockThatWasAheadComesAlsoAfterARestart) {
  Connect("a");
  now_.wall += hours(24 * 365);
  ASSERT_TRUE(Put(Nightly()).ok());
  EXPECT_EQ(Next(), "2024-11-14 02:00:00Z");
  now_.wall -= hours(24 * 365);
  Restart();
  EXPECT_EQ(Next(), "2023-11-15 02:00:00Z");
}

TEST_F(ScheduleDeskTest, ATimeThatComesAgainAfterAClockIsSetFarBackHasItsJobAlready) {
  Connect("a");
  v1::Schedule schedule = Nightly();
  schedule.set_allow_overlap(true);
  ASSERT_TRUE(Put(schedule).ok());
  AdvanceTicking(hours(3) + minutes(47));
  const absl::StatusOr<v1::Job> job = SubmitWanted(TakeWanted().at(0));
  ASSERT_TRUE(job.ok()) << job.status();
  now_.wall -= hours(3);
  AdvanceTicking(minutes(2));
  EXPECT_EQ(Next(), "2023-11-15 02:00:00Z");
  AdvanceTicking(hours(3));
  const std::vector<WantJob> wanted = TakeWanted();
  ASSERT_FALSE(wanted.empty());
  EXPECT_EQ(SubmitWanted(wanted.front())->job_id(), job->job_id());
  EXPECT_EQ(Next(), "2023-11-16 02:00:00Z");
}

TEST_F(ScheduleDeskTest, WhatPassedWhileNobodyWasThereIsMadeUpForOnceOrNot) {
  Connect("a");
  v1::Schedule often = Nightly();
  often.set_cron("*/10 * * * *");
  ASSERT_TRUE(Put(often).ok());
  Advance(minutes(45));  // 22:58:20
  Restart();
  const std::vector<WantJob> wanted = TakeWanted();
  ASSERT_THAT(wanted, SizeIs(1));
  EXPECT_EQ(UtcText(wanted.front().origin.scheduled_time), "2023-11-14 22:50:00Z");
  ASSERT_TRUE(SubmitWanted(wanted.front()).ok());
  EXPECT_EQ(Next(), "2023-11-14 23:00:00Z");

  v1::Schedule nightly = Nightly();
  nightly.set_schedule_id("nightly");
  ASSERT_TRUE(Put(nightly).ok());
  Advance(hours(5));  // 03:58:20
  Restart();
  EXPECT_THAT(TakeWanted(), IsEmpty());
  EXPECT_THAT(Kept().last_problem(), HasSubstr("missed: 2023-11-15 02:00:00Z passed"));
  EXPECT_EQ(Next(), "2023-11-16 02:00:00Z");
}

TEST_F(ScheduleDeskTest, WhileItsJobGoesOnATimeIsSkippedUnlessTheyMayOverlap) {
  const SessionId session = Connect("a");
  v1::Schedule schedule = Nightly();
  schedule.set_cron("0 * * * *");
  ASSERT_TRUE(Put(schedule).ok());
  AdvanceTicking(minutes(47));
  ASSERT_TRUE(SubmitWanted(TakeWanted().at(0)).ok());
  AdvanceTicking(hours(1));
  EXPECT_THAT(TakeWanted(), IsEmpty());
  EXPECT_EQ(Kept().last_problem(), "skipped: job j-1 had not ended");
  schedule.set_allow_overlap(true);
  ASSERT_TRUE(Put(schedule).ok());
  AdvanceTicking(hours(1));
  EXPECT_FALSE(TakeWanted().empty());
  (void)session;
}

TEST_F(ScheduleDeskTest, WhatCannotBeSubmittedIsToldAndTheNextTimeComes) {
  Connect("a");
  ASSERT_TRUE(Put(Nightly()).ok());
  AdvanceTicking(hours(3) + minutes(47));
  core_->WantedJobFailed(now_, TakeWanted().at(0).origin, "there is no model 'x'", &actions_);
  Settle();
  EXPECT_EQ(Kept().last_problem(), "there is no model 'x'");
  EXPECT_EQ(Next(), "2023-11-16 02:00:00Z");
  EXPECT_THAT(kept_.jobs, IsEmpty());
}

TEST_F(ScheduleDeskTest, WhatIsDeletedOrPausedWhileItsJobIsHandedOverGetsNone) {
  Connect("a");
  ASSERT_TRUE(Put(Nightly()).ok());
  AdvanceTicking(hours(3) + minutes(47));
  const WantJob want = TakeWanted().at(0);
  v1::Schedule paused = Nightly();
  paused.set_paused(true);
  ASSERT_TRUE(Put(paused).ok());
  const absl::Status refused = SubmitWanted(want).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  core_->WantedJobFailed(now_, want.origin, std::string(refused.message()), &actions_);
  Settle();
  EXPECT_EQ(Kept().last_problem(), "skipped: schedule nightly was paused before its job was there");

  ASSERT_TRUE(core_->RemoveSchedule(now_, "nightly", "ada", false, &actions_).ok());
  EXPECT_THAT(std::string(SubmitWanted(want).status().message()), HasSubstr("schedule nightly was deleted"));
  EXPECT_THAT(kept_.jobs, IsEmpty());
}

TEST_F(ScheduleDeskTest, APausedScheduleWantsNothing) {
  Connect("a");
  v1::Schedule schedule = Nightly();
  schedule.set_paused(true);
  ASSERT_TRUE(Put(schedule).ok());
  EXPECT_EQ(Next(), "never");
  AdvanceTicking(hours(24));
  EXPECT_THAT(TakeWanted(), IsEmpty());
  schedule.set_paused(false);
  ASSERT_TRUE(Put(schedule).ok());
  EXPECT_EQ(Next(), "2023-11-16 02:00:00Z");
}

// Nothing else of it changes, whoever else changed it meanwhile.
TEST_F(ScheduleDeskTest, IsPausedAndResumedAsItIs) {
  Connect("a");
  ASSERT_TRUE(Put(Nightly()).ok());
  const v1::Schedule before = core_->FindSchedule("nightly").value();
  const auto set = [&](bool paused, const char* requester, bool administrator = false) {
    absl::StatusOr<v1::Schedule> schedule =
        core_->SetPaused(now_, "nightly", paused, requester, administrator, &actions_);
    Settle();
    return schedule;
  };
  EXPECT_EQ(set(true, "bob").status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(core_->SetPaused(now_, "nightli", true, "ada", false, &actions_).status().code(),
            absl::StatusCode::kNotFound);
  ASSERT_TRUE(set(true, "ada").ok());
  EXPECT_EQ(Next(), "never");
  EXPECT_TRUE(kept_.schedules.at("nightly").paused());
  AdvanceTicking(hours(24));
  EXPECT_THAT(TakeWanted(), IsEmpty());
  v1::Schedule expected = before;
  expected.set_paused(true);
  expected.clear_next_time();
  EXPECT_EQ(core_->FindSchedule("nightly")->SerializeAsString(), expected.SerializeAsString());
  ASSERT_TRUE(set(false, "root", true).ok());
  EXPECT_EQ(Next(), "2023-11-16 02:00:00Z");
  EXPECT_EQ(core_->FindSchedule("nightly")->submitter(), "ada");
  AdvanceTicking(hours(24));
  EXPECT_THAT(TakeWanted(), testing::Not(IsEmpty()));
}

TEST_F(ScheduleDeskTest, IsNotResumedWhileItsDevicesCannotBeUsed) {
  Connect("a");
  ASSERT_TRUE(Put(Nightly()).ok());
  ASSERT_TRUE(core_->SetPaused(now_, "nightly", true, "ada", false, &actions_).ok());
  ASSERT_TRUE(core_->SetDrained(now_, "a", true, &actions_).ok());
  EXPECT_EQ(core_->SetPaused(now_, "nightly", false, "ada", false, &actions_).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(core_->FindSchedule("nightly")->paused());
  EXPECT_TRUE(core_->SetPaused(now_, "nightly", true, "ada", false, &actions_).ok());
}

TEST_F(ScheduleDeskTest, TimesAreThoseOfItsZone) {
  Connect("a");
  v1::Schedule schedule = Nightly();
  schedule.set_time_zone("Europe/Berlin");
  ASSERT_TRUE(Put(schedule).ok());
  EXPECT_EQ(Next(), "2023-11-15 01:00:00Z");
  schedule.set_time_zone("Europe/Nowhere");
  EXPECT_EQ(Put(schedule).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ScheduleDeskTest, WhatIsPutIsCheckedAndBelongsToItsMaker) {
  EXPECT_EQ(Put(Nightly()).status().code(), absl::StatusCode::kFailedPrecondition);  // no device
  Connect("a");
  v1::Schedule wrong = Nightly();
  wrong.set_cron("0 25 * * *");
  EXPECT_THAT(std::string(Put(wrong).status().message()), HasSubstr("cron: the hour '25'"));
  ASSERT_TRUE(Put(Nightly()).ok());
  v1::Schedule other = Nightly();
  other.set_submitter("bob");
  EXPECT_EQ(Put(other).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Put(other, true)->submitter(), "ada");
  EXPECT_EQ(core_->RemoveSchedule(now_, "nightly", "bob", false, &actions_).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(core_->RemoveSchedule(now_, "nightli", "ada", false, &actions_).status().code(),
            absl::StatusCode::kNotFound);
  ASSERT_TRUE(core_->RemoveSchedule(now_, "nightly", "ada", false, &actions_).ok());
  Settle();
  EXPECT_THAT(kept_.schedules, IsEmpty());
  AdvanceTicking(hours(24));
  EXPECT_THAT(TakeWanted(), IsEmpty());
}

}  // namespace
}  // namespace ballast::core
