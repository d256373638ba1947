// jobs and runs against a coordinator: filters, pages, forms of output.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "cli/render/details.h"
#include "cli/render/environment_fields.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "tests/unit/cli/command_fixture.h"
#include "tests/unit/cli/fake_coordinator.h"

namespace ballast::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;
using testing::UnorderedElementsAre;

class RunCommandsTest : public CommandTest {
 protected:
  RunCommandsTest() { variables_["BALLAST_COORDINATOR"] = coordinator_.address(); }

  void AddRuns(int count) {
    for (int i = 1; i <= count; ++i) {
      v1::Run run;
      run.set_run_id(fmt::format("j-1.{:05}", i));
      run.set_job_id("j-1");
      coordinator_.runs[run.run_id()] = run;
    }
  }

  FakeCoordinator coordinator_{directory_.path()};
};

TEST_F(RunCommandsTest, FiltersAreSent) {
  ASSERT_EQ(Run({"runs",         "list",
                 "--job",        "j-1,j-2",
                 "--device",     "d-1",
                 "--on",         "class=a",
                 "--outcome",    "oom_killed,timed-out",
                 "--state",      "ended",
                 "--annotate",   "build=7",
                 "--since",      "24h",
                 "--until-time", "2025-03-01T14:00:00Z",
                 "--workload",   "pressure"}),
            0)
      << err();
  ASSERT_EQ(coordinator_.run_requests.size(), 1U);
  const v1::RunFilter& filter = coordinator_.run_requests[0].filter();
  EXPECT_THAT(filter.job_ids(), ElementsAre("j-1", "j-2"));
  EXPECT_THAT(filter.device_ids(), ElementsAre("d-1"));
  EXPECT_THAT(filter.labels(), UnorderedElementsAre(Pair("class", "a")));
  EXPECT_THAT(filter.outcomes(), ElementsAre(v1::OOM_KILLED, v1::TIMED_OUT));
  EXPECT_THAT(filter.states(), ElementsAre(v1::Run::ENDED));
  EXPECT_THAT(filter.annotations(), UnorderedElementsAre(Pair("build", "7")));
  EXPECT_EQ(filter.created_from().seconds(), 1'740'837'600 - 86'400);
  EXPECT_EQ(filter.created_before().seconds(), 1'740'837'600);
  EXPECT_EQ(filter.workload_kind(), "pressure");
}

TEST_F(RunCommandsTest, AnUnknownJobKeepsNoOtherFromBeingCancelled) {
  for (const char* id : {"j-1", "j-2"}) {
    coordinator_.jobs[id].set_job_id(id);
    coordinator_.jobs[id].set_state(v1::Job::RUNNING);
  }
  EXPECT_EQ(Run({"jobs", "cancel", "j-1", "nope", "j-2", "none"}), 4);
  EXPECT_EQ(out(), "j-1: cancelled\nj-2: cancelled\n");
  EXPECT_EQ(err(), "error: there is no job nope\nerror: there is no job none\n  try: ballast jobs list\n");
  EXPECT_EQ(Run({"jobs", "cancel", "nope", "--output", "json"}), 4);
  EXPECT_EQ(out(), "");
}

TEST_F(RunCommandsTest, PagesAreFetchedUpToTheLimit) {
  AddRuns(2'500);
  ASSERT_EQ(Run({"runs", "list", "--limit", "0", "--output", "csv"}), 0);
  EXPECT_EQ(coordinator_.run_requests.size(), 3U);
  const std::string csv = out();
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 2'501);
  EXPECT_EQ(err(), "");
  coordinator_.run_requests.clear();
  ASSERT_EQ(Run({"runs", "list"}), 0);
  EXPECT_EQ(coordinator_.run_requests.size(), 1U);
  EXPECT_EQ(coordinator_.run_requests[0].page_size(), 50);
  EXPECT_THAT(out(), HasSubstr("j-1.00050"));
  EXPECT_THAT(out(), Not(HasSubstr("j-1.00051")));
  EXPECT_THAT(err(), HasSubstr("more than 50"));
  ASSERT_EQ(Run({"runs", "list", "--limit", "1200", "--output", "json"}), 0);
  EXPECT_EQ(coordinator_.run_requests.back().page_size(), 200);
}

TEST_F(RunCommandsTest, AnEmptyHistoryIsAnEmptyList) {
  ASSERT_EQ(Run({"runs", "list", "--output", "json"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"runs\": []"));
  ASSERT_EQ(Run({"jobs", "list", "--output", "csv"}), 0);
  EXPECT_THAT(out(), testing::StartsWith("job_id,display_name,workload,state,"));
  ASSERT_EQ(Run({"jobs", "list"}), 0);
  EXPECT_THAT(out(), testing::StartsWith("JOB"));
}

TEST_F(RunCommandsTest, OneOfThemInEveryForm) {
  v1::Run& run = coordinator_.runs["j-1.1"];
  run.set_run_id("j-1.1");
  run.set_device_id("dev-1");
  run.set_state(v1::Run::ENDED);
  run.mutable_outcome()->set_kind(v1::OOM_KILLED);
  run.mutable_outcome()->set_message("the kernel killed it at \x1b[31m3 GiB");
  run.mutable_outcome()->mutable_evidence()->set_killer(v1::KERNEL_GLOBAL_OOM);
  v1::Evidence& evidence = *run.add_attempts()->mutable_result()->mutable_outcome()->mutable_evidence();
  evidence.add_kernel_log("Out of memory: Killed");
  evidence.mutable_last_samples()->add_offset_ms(100);
  v1::SampleColumn& available = *evidence.mutable_last_samples()->add_columns();
  available.set_metric("mem_limit_available_bytes");
  available.add_values(7 << 20);
  ASSERT_EQ(Run({"runs", "show", "j-1.1"}), 0);
  EXPECT_THAT(out(), HasSubstr("last seconds:\n  before the end  available\n           0.0 s      7 MiB\n"));
  EXPECT_THAT(out(), HasSubstr("KERNEL_GLOBAL_OOM"));
  EXPECT_THAT(out(), HasSubstr("Out of memory: Killed"));
  EXPECT_THAT(out(), HasSubstr("killed it at ?[31m3 GiB")) << "escape sequences from elsewhere do nothing";
  ASSERT_EQ(Run({"runs", "show", "j-1.1", "--output", "json"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"outcome\": {"));
  ASSERT_EQ(Run({"runs", "show", "j-1.1", "--output", "csv"}), 0);
  EXPECT_THAT(out(), HasSubstr("\r\nj-1.1,,dev-1,0,,ENDED,OOM_KILLED,"));
  EXPECT_EQ(Run({"runs", "show", "j-1.2"}), 4);
  EXPECT_THAT(err(), HasSubstr("ballast runs list"));
}

TEST_F(RunCommandsTest, ARunIsShownWithItsVerdictsAndWhatItTook) {
  v1::Run& run = coordinator_.runs["j-1.1"];
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"pb(
        run_id: "j-1.1"
        state: ENDED
        outcome {
          kind: OOM_KILLED
          evidence {
            killer: USERSPACE_OOM_DAEMON
            signal: 15
            signal_sender { pid: 812 command: "earlyoom" }
            oom_daemons: "earlyoom"
            findings: "earlyoom sent SIGTERM"
            cgroup_oom_count: 2
            oom_cgroup: "/ballast/run"
          }
        }
        attempts {
          result {
            max_lag_bytes: 1048576
            phases {
              kind: SETTLE
              end_offset { seconds: 4 }
            }
            phases {
              kind: HOLD
              target_psi { kind: SOME percent: 20 }
              hold_quality {
                sample_count: 40
                min_percent: 90
                max_percent: 95
                min_held_bytes: 1073741824
                mean_held_bytes: 1610612736
                max_held_bytes: 2147483648
                stall { sample_count: 30 within_five_points_count: 27 min_percent: 14 mean_percent: 19 max_percent: 26 }
              }
            }
            phases { kind: HOLD target_bytes: 3221225472 }
            observer_cost {
              cpu_time { nanos: 250000000 }
              pss_bytes: 7340032
              minor_faults: 40
              major_faults: 2
              written_bytes: 65536
            }
            validity {
              remarks {
                kind: BACKGROUND_CPU
                disqualifies: true
                message: "other processes used 31.0 % of the processors"
              }
              remarks { kind: ZRAM message: "zram held 1 GiB" }
            }
            guard_acts {
              offset { seconds: 3 }
              action: RELEASE_ASKED
              signal: PSI_FULL
              value: 55
              threshold: 40
              reaction { nanos: 12000000 }
            }
            guard_acts { action: WARNED signal: AVAILABLE_MEMORY value: 104857600 threshold: 209715200 }
          }
        }
      )pb",
      &run));
  ASSERT_EQ(Run({"runs", "show", "j-1.1"}), 0) << err();
  for (const char* const text :
       {"15, sent by process 812 (earlyoom)", "earlyoom sent SIGTERM", "2, innermost /ballast/run",
        "target PSI some 20.0 %", "held 1 GiB to 2 GiB, 1.5 GiB on average",
        "stall 14.0 % to 26.0 %, 19.0 % on average, 27 of 30 samples within 5 points", "target 3 GiB", "SETTLE",
        "250 ms of processor time, 7 MiB of memory, 40 minor and 2 major faults, 64 KiB written",
        "largest lag:", "valid:             no", "other processes used 31.0 % of the processors: invalid",
        "  zram held 1 GiB\n", "RELEASE_ASKED PSI_FULL 55.0 % (40.0 %), memory given back after 12 ms",
        "AVAILABLE_MEMORY 100 MiB (200 MiB)"}) {
    EXPECT_THAT(out(), HasSubstr(text));
  }
}

TEST_F(RunCommandsTest, WhatADeviceMadeOfAProfileIsShown) {
  v1::RunReport report;
  report.mutable_run()->set_run_id("j-1.1");
  v1::AppliedEnvironment* const applied = report.mutable_run()->add_attempts()->mutable_result()->mutable_environment();
  applied->set_profile_name("small");
  applied->set_memory_bytes(64U << 20U);
  applied->add_remarks("The profile's swappiness (10) is not set.");
  const std::string details = RunDetails(report.run());
  EXPECT_THAT(details, HasSubstr("environment:       small: 64 MiB, no swap\n"));
  EXPECT_THAT(details, HasSubstr("  The profile's swappiness (10) is not set.\n"));
  EXPECT_EQ(AppliedEnvironments({&report, &report}),
            "environment small: 64 MiB, no swap\n  The profile's swappiness (10) is not set.\n");
  v1::RunReport other = report;
  other.mutable_run()->set_run_id("j-1.2");
  other.mutable_run()->mutable_attempts(0)->mutable_result()->mutable_environment()->clear_remarks();
  EXPECT_THAT(AppliedEnvironments({&report, &other}), HasSubstr("j-1.2: environment small: 64 MiB, no swap\n"));
  EXPECT_EQ(AppliedEnvironments({}), "");
}

TEST_F(RunCommandsTest, AJobIsShownWithItsRunsAndCancelled) {
  v1::Job& job = coordinator_.jobs["j-1"];
  job.set_job_id("j-1");
  job.set_state(v1::Job::RUNNING);
  job.mutable_spec()->mutable_workload()->mutable_pressure()->mutable_burst()->set_target_percent(70);
  AddRuns(2);
  ASSERT_EQ(Run({"jobs", "show", "j-1"}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("target_percent: 70%"));
  EXPECT_THAT(out(), HasSubstr("j-1.00002"));
  ASSERT_EQ(Run({"jobs", "cancel", "j-1"}), 0);
  EXPECT_EQ(out(), "j-1: cancelled\n");
  EXPECT_TRUE(coordinator_.jobs["j-1"].cancel_requested());
  EXPECT_EQ(Run({"jobs", "cancel", "j-2"}), 4);
  EXPECT_EQ(Run({"jobs", "show", "j-2"}), 4);
}

TEST_F(RunCommandsTest, SamplesAreARowEachInTheOrderThatWasAsked) {
  coordinator_.runs["j-1.1"].set_run_id("j-1.1");
  v1::SampleSeries& series = coordinator_.samples.emplace_back();
  series.add_offset_ms(0);
  series.add_offset_ms(100.5);
  v1::SampleColumn& used = *series.add_columns();
  used.set_metric("mem_used_percent");
  used.add_values(12.5);
  used.add_values(std::numeric_limits<double>::quiet_NaN());
  v1::SampleColumn& shorter = *series.add_columns();
  shorter.set_metric("mem_available_bytes");
  shorter.add_values(4096);
  ASSERT_EQ(Run({"runs", "samples", "j-1.1", "--metric", "mem_available_bytes,mem_used_percent", "--attempt", "2"}), 0)
      << err();
  EXPECT_EQ(out(), "offset_ms,mem_available_bytes,mem_used_percent\r\n0,4096,12.5\r\n100.5,,\r\n");
  EXPECT_EQ(coordinator_.sample_requests[0].attempt(), 2U);
  EXPECT_THAT(coordinator_.sample_requests[0].metrics(), ElementsAre("mem_available_bytes", "mem_used_percent"));
  ASSERT_EQ(Run({"runs", "samples", "j-1.1", "--output", "json"}), 0);
  const std::string json = out();
  EXPECT_EQ(std::count(json.begin(), json.end(), '\n'), 1) << "a line a message";
  coordinator_.samples.clear();
  ASSERT_EQ(Run({"runs", "samples", "j-1.1"}), 0);
  EXPECT_THAT(out(), testing::StartsWith("offset_ms,")) << "the heading stands even without samples";
  EXPECT_EQ(err(), "");
  coordinator_.runs["j-1.1"].mutable_samples_thinned_time()->set_seconds(1);
  ASSERT_EQ(Run({"runs", "samples", "j-1.1"}), 0);
  EXPECT_THAT(err(), HasSubstr("the samples of j-1.1 were thinned"));
}

}  // namespace
}  // namespace ballast::cli
