// A night of a fleet under virtual time: twelve labelled devices, three submitters, priorities, a reservation, a
// nightly schedule, and a device that fails its self-tests until somebody repairs it. Who ran what, when and why.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "coordinator/core/utc_text.h"
#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// What one device did in one stretch.
struct Stint {
  std::string job_id;
  std::string run_id;
  std::string device_id;
  base::SystemTime start;
  base::SystemTime end;
};

class FleetDayTest : public CoreTest {
 protected:
  FleetDayTest() {
    options_.offline_after = minutes(5);
    options_.scheduling.quarantine_after = 3;
    options_.scheduling.health_check_interval = minutes(5);
    options_.scheduling.health_check = Spec();
    now_.wall = At("22:00");
    Restart();
    // w01 to w06 stand in rack a, the others in rack b; every third is small.
    for (int n = 1; n <= 12; ++n) {
      const std::string device_id = fmt::format("w{:02}", n);
      sessions_[device_id] =
          Connect(device_id, {{"rack", n <= 6 ? "a" : "b"}, {"class", n % 3 == 1 ? "small" : "large"}});
    }
  }

  // Of the night that begins on 14 November 2023.
  static base::SystemTime At(const std::string& time) {
    const int hour = std::stoi(time.substr(0, 2));
    const std::chrono::sys_days day = std::chrono::sys_days(std::chrono::year(2023) / 11 / (hour < 12 ? 15 : 14));
    return day + std::chrono::hours(hour) + std::chrono::minutes(std::stoi(time.substr(3, 2)));
  }
  static std::string Time(base::SystemTime time) { return UtcText(time).substr(11, 5); }

  static v1::JobSpec Job(const std::string& expression, std::uint32_t repetitions, std::int32_t priority = 0,
                         std::uint32_t count = 0) {
    v1::JobSpec spec = Spec();
    spec.mutable_devices()->clear_all();
    spec.mutable_devices()->set_expression(expression);
    spec.mutable_devices()->set_count(count);
    spec.set_repetitions(repetitions);
    spec.set_priority(priority);
    return spec;
  }
  std::string SubmitAs(const std::string& submitter, const v1::JobSpec& spec) {
    const absl::StatusOr<v1::Job> job = Submit(spec, "", submitter);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? job->job_id() : "";
  }

  // Ten minutes, or one for a self-test.
  minutes Length(const std::string& run_id) const {
    const std::string job_id = run_id.substr(0, run_id.find('.'));
    return kept_.jobs.at(job_id).health_check_device_id().empty() ? minutes(10) : minutes(1);
  }

  // Devices do what they are told, minute by minute, until then.
  void LiveUntil(const std::string& time) {
    while (true) {
      Work();
      if (now_.wall >= At(time)) return;
      AdvanceTicking(minutes(1));
      for (const WantJob& want : TakeWanted()) EXPECT_TRUE(SubmitWanted(want).ok());
    }
  }
  void Work() {
    for (const auto& [device_id, session] : sessions_) {
      std::string active = Device(device_id).active_run_id();
      if (!active.empty() && going_on_[device_id].run_id == active &&
          now_.wall - going_on_[device_id].start >= Length(active)) {
        Stint done = going_on_[device_id];
        done.end = now_.wall;
        stints_.push_back(done);
        Finished(session, active, broken_.contains(device_id) ? v1::WORKER_CRASHED : v1::COMPLETED);
        active = Device(device_id).active_run_id();
      }
      if (!active.empty() && going_on_[device_id].run_id != active) {
        going_on_[device_id] = {active.substr(0, active.find('.')), active, device_id, now_.wall, {}};
        Started(session, active);
      }
      Heartbeat(session, active, active.empty() ? 0 : 1);
    }
  }

  // What a device did, in order: `22:10 j-1.7`.
  std::vector<std::string> Of(const std::string& device_id) const {
    std::vector<std::string> found;
    for (const Stint& stint : stints_) {
      if (stint.device_id == device_id) found.push_back(fmt::format("{} {}", Time(stint.start), stint.run_id));
    }
    return found;
  }
  std::vector<Stint> OfJob(const std::string& job_id) const {
    std::vector<Stint> found;
    std::ranges::copy_if(stints_, std::back_inserter(found),
                         [&](const Stint& stint) { return stint.job_id == job_id; });
    return found;
  }

  std::map<std::string, SessionId> sessions_;
  std::map<std::string, Stint> going_on_;
  std::set<std::string> broken_;
  std::vector<Stint> stints_;  // in the order in which they ended
};

TEST_F(FleetDayTest, EveryoneGetsWhatTheOrderSays) {
  broken_ = {"w12"};
  const std::string ada = SubmitAs("ada", Job("rack=a", 10));
  const std::string ada_b = SubmitAs("ada", Job("rack=b", 4));
  const std::string bob = SubmitAs("bob", Job("class=small", 3, 0, 2));
  v1::Schedule nightly;
  nightly.set_schedule_id("nightly");
  nightly.set_cron("0 2 * * *");
  nightly.set_submitter("eve");
  *nightly.mutable_job() = Job("rack=b", 1, -5);
  ASSERT_TRUE(core_->SetSchedule(now_, nightly, false, &actions_).ok());
  Settle();
  v1::CreateReservationRequest wanted;
  wanted.set_holder("bob");
  wanted.mutable_devices()->set_expression("rack=a, class=small");
  *wanted.mutable_start_time() = base::ToProto(At("23:05"));
  *wanted.mutable_end_time() = base::ToProto(At("00:30"));
  ASSERT_THAT(core_->CreateReservation(now_, "v-1", wanted, &actions_)->device_ids(), ElementsAre("w01", "w04"));
  Settle();

  LiveUntil("22:05");
  // Every device is ada's: bob's runs wait for any of the four small ones.
  EXPECT_THAT(WaitsFor(bob), ElementsAre("6 DEVICE_BUSY: of 4 devices that it may go to, 4 busy"));
  const std::string eve = SubmitAs("eve", Job("rack=a", 1, 5));
  LiveUntil("22:06");
  EXPECT_THAT(WaitsFor(ada),
              Contains(fmt::format("9 QUEUED_BEHIND: run {}.1 of eve goes before it on device w01", eve)));

  LiveUntil("22:40");
  // At 22:10 eve's job comes first by its priority. Then it is bob's turn where he may have devices, as ada has had so
  // much more; no two runs of a repetition are on one device.
  EXPECT_THAT(Of("w02"), ElementsAre("22:00 j-1.2", "22:10 j-4.2", "22:20 j-1.8", "22:30 j-1.14"));
  EXPECT_THAT(Of("w07"), ElementsAre("22:00 j-2.1", "22:10 j-3.1", "22:20 j-3.5", "22:30 j-2.7"));
  EXPECT_THAT(Of("w10"), ElementsAre("22:00 j-2.4", "22:10 j-3.2", "22:20 j-3.6", "22:30 j-2.10"));
  EXPECT_THAT(Of("w01"), ElementsAre("22:00 j-1.1", "22:10 j-4.1", "22:20 j-3.3", "22:30 j-1.7"));
  EXPECT_THAT(Of("w04"), ElementsAre("22:00 j-1.4", "22:10 j-4.4", "22:20 j-3.4", "22:30 j-1.10"));

  // Three runs in a row have failed on w12.
  EXPECT_EQ(Device("w12").state(), v1::Device::QUARANTINED);
  EXPECT_EQ(Time(base::FromProto(Device("w12").health().quarantine_time())), "22:30");
  EXPECT_THAT(WaitsFor(ada_b),
              Contains(HasSubstr("1 DEVICE_QUARANTINED: device w12 is in quarantine since 2023-11-14 22:30:00Z: "
                                 "3 attempts in a row failed, the last of run j-2.18 as WORKER_CRASHED")));

  LiveUntil("23:30");
  EXPECT_EQ(Device("w01").reserved_for(), "bob");
  EXPECT_THAT(WaitsFor(ada),
              Contains(HasSubstr("DEVICE_RESERVED: device w01 is reserved for bob until 2023-11-15 00:30:00Z")));
  const std::string bobs_own = SubmitAs("bob", Job("rack=a, class=small", 2));

  LiveUntil("05:00");
  for (const char* device_id : {"w01", "w04"}) {
    std::vector<std::string> in_reservation;
    for (const Stint& stint : stints_) {
      if (stint.device_id != device_id || stint.end <= At("23:05") || stint.start >= At("00:30")) continue;
      in_reservation.push_back(fmt::format("{} {}", Time(stint.start), stint.job_id));
    }
    // What went on when it began was not disturbed.
    EXPECT_THAT(in_reservation, ElementsAre("23:00 " + ada, "23:30 " + bobs_own, "23:40 " + bobs_own)) << device_id;
    EXPECT_THAT(Of(device_id), Contains(testing::StartsWith("00:30 " + ada))) << device_id;
  }

  // The nightly job came once, on time, and not to the device in quarantine.
  std::vector<std::string> scheduled;
  for (const auto& [job_id, job] : kept_.jobs) {
    if (!job.schedule_id().empty()) scheduled.push_back(job_id);
  }
  ASSERT_THAT(scheduled, SizeIs(1));
  EXPECT_EQ(kept_.jobs.at(scheduled.front()).submitter(), "eve");
  std::vector<std::string> nightly_stints;
  for (const Stint& stint : OfJob(scheduled.front()))
    nightly_stints.push_back(fmt::format("{} {}", Time(stint.start), stint.device_id));
  EXPECT_THAT(nightly_stints, ElementsAre("02:00 w07", "02:00 w08", "02:00 w09", "02:00 w10", "02:00 w11"));
  EXPECT_EQ(UtcText(base::FromProto(kept_.schedules.at("nightly").next_time())), "2023-11-16 02:00:00Z");

  // Self-tests went to w12, and nothing else, each after a pause twice as long.
  std::vector<std::string> tests;
  for (const Stint& stint : stints_) {
    if (stint.device_id != "w12" || stint.start < At("22:30")) continue;
    EXPECT_EQ(kept_.jobs.at(stint.job_id).health_check_device_id(), "w12");
    tests.push_back(Time(stint.start));
  }
  EXPECT_THAT(tests, ElementsAre("22:35", "22:46", "23:07", "23:48", "01:09", "03:50"));
  EXPECT_EQ(Device("w12").health().failed_check_count(), 6U);

  // Repaired, it passes the next one, and does what waited for it.
  broken_.clear();
  LiveUntil("10:00");
  EXPECT_EQ(Device("w12").state(), v1::Device::READY);
  EXPECT_THAT(Of("w12"), Contains("09:12 j-2.24"));
  EXPECT_EQ(kept_.runs.at("j-2.24").outcome().kind(), v1::COMPLETED);

  // Everything is done, everything once, and never two runs of a repetition of bob's job on one device.
  for (const auto& [job_id, job] : kept_.jobs) EXPECT_EQ(job.state(), v1::Job::FINISHED) << job_id;
  std::set<std::string> done;
  for (const Stint& stint : stints_) EXPECT_TRUE(done.insert(stint.run_id).second) << stint.run_id;
  EXPECT_EQ(done.size(), kept_.runs.size());
  std::set<std::pair<std::uint32_t, std::string>> placed;
  for (const auto& [run_id, run] : kept_.runs) {
    if (run.job_id() != bob) continue;
    EXPECT_TRUE(placed.emplace(run.repetition(), run.device_id()).second) << run_id;
  }
}

}  // namespace
}  // namespace ballast::core
