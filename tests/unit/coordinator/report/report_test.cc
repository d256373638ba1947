#include "coordinator/report/report.h"

#include <algorithm>
#include <string>
#include <vector>

#include "common/metrics/chunk_codec.h"
#include "common/metrics/metric_table.h"
#include "common/render/json.h"
#include "coordinator/report/run_telemetry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "stored_history.h"

namespace ballast::report {
namespace {

using metrics::MetricId;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsNan;
using testing::Not;

class ReportTest : public StoredHistoryTest {
 protected:
  [[nodiscard]] absl::StatusOr<v1::Report> Build(const std::vector<std::string>& job_ids,
                                                 const std::vector<std::string>& run_ids = {},
                                                 const ReportOptions& options = {}) {
    v1::GetReportRequest scope;
    scope.mutable_job_ids()->Add(job_ids.begin(), job_ids.end());
    scope.mutable_run_ids()->Add(run_ids.begin(), run_ids.end());
    return BuildReport(*store_, scope, options, clock_);
  }

  // The report, which must come about.
  [[nodiscard]] v1::Report MustBuild(const std::vector<std::string>& job_ids,
                                     const std::vector<std::string>& run_ids = {}, const ReportOptions& options = {}) {
    absl::StatusOr<v1::Report> report = Build(job_ids, run_ids, options);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : v1::Report();
  }

  static std::vector<std::string> RunIds(const v1::Report& report) {
    std::vector<std::string> ids;
    for (const v1::RunReport& run : report.runs()) ids.push_back(run.run().run_id());
    return ids;
  }
};

TEST_F(ReportTest, NeedsAJobOrARun) {
  EXPECT_EQ(Build({}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ReportTest, NamesEverythingThatDoesNotExist) {
  const absl::Status status = Build({"j-nowhere", kBurstJob, "j-absent"}, {"j-0000000001.9", "j-gone.1"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("no such job: j-absent, j-nowhere"), HasSubstr("no such run: j-0000000001.9, j-gone.1"),
                    HasSubstr("ballast jobs list")));
}

TEST_F(ReportTest, SaysWhatItIsAndWhenItWasMade) {
  const v1::Report report = MustBuild({kBurstJob});
  EXPECT_EQ(report.schema_version(), kSchemaVersion);
  EXPECT_EQ(base::FromProto(report.create_time()), clock_.Now());
  EXPECT_THAT(report.ballast_version(), Not(IsEmpty()));
  EXPECT_THAT(report.warnings(), IsEmpty());
}

TEST_F(ReportTest, OrdersJobsBySubmissionAndRunsByJobDeviceAndRepetition) {
  // The device of the smaller identifier gets the runs with the greater numbers.
  Write({storage::PutDevice{.device = [] {
    v1::Device device;
    device.set_device_id("d-0000000000");
    return device;
  }()}});
  v1::Run run;
  run.set_job_id(kStaircaseJob);
  run.set_device_id("d-0000000000");
  for (const int repetition : {2, 1}) {
    run.set_run_id("j-0000000001." + std::to_string(12 - repetition));
    run.set_repetition(static_cast<std::uint32_t>(repetition));
    Write({storage::PutRun{.run = run}});
  }
  const v1::Report report = MustBuild({kBurstJob, kStaircaseJob});
  ASSERT_EQ(report.jobs_size(), 2);
  EXPECT_EQ(report.jobs(0).job_id(), kStaircaseJob);
  EXPECT_EQ(report.jobs(1).job_id(), kBurstJob);
  EXPECT_THAT(RunIds(report), ElementsAre("j-0000000001.11", "j-0000000001.10", "j-0000000001.1", "j-0000000001.2",
                                          "j-0000000001.3", "j-0000000001.4", "j-0000000002.1", "j-0000000002.2"));
}

TEST_F(ReportTest, CoversRunsWithTheirJobsEachOnce) {
  const v1::Report report = MustBuild({kBurstJob}, {"j-0000000002.1", "j-0000000001.2", "j-0000000001.2"});
  EXPECT_EQ(report.jobs_size(), 2);
  EXPECT_THAT(RunIds(report), ElementsAre("j-0000000001.2", "j-0000000002.1", "j-0000000002.2"));
}

TEST_F(ReportTest, KnowsOnlyTheIdentifierOfARemovedDevice) {
  const v1::Report report = MustBuild({kStaircaseJob});
  ASSERT_EQ(report.devices_size(), 2);
  EXPECT_EQ(report.devices(0).facts().hostname(), "pi-4");
  EXPECT_EQ(report.devices(1).device_id(), kRemovedDevice);
  EXPECT_FALSE(report.devices(1).has_facts());
  EXPECT_EQ(report.runs(0).device_name(), "pi-4");
  EXPECT_EQ(report.runs(2).device_name(), kRemovedDevice);
  EXPECT_EQ(report.by_device(0).title(), "pi-4");
  EXPECT_EQ(report.by_device(1).title(), "");
}

TEST_F(ReportTest, GivesRollupsOfTheLastAttemptInTheMetricsUnits) {
  const v1::RunReport run = MustBuild({}, {"j-0000000001.1"}).runs(0);
  std::vector<std::string> names;
  for (const v1::MetricRollup& rollup : run.rollups()) names.push_back(rollup.metric());
  EXPECT_THAT(names, ElementsAre("mem_available_bytes", "mem_used_percent", "psi_memory_some_avg10",
                                 "runner_held_bytes", "vm_pgmajfault_total"));
  const v1::MetricRollup& used = run.rollups(1);
  EXPECT_EQ(used.count(), 8);
  EXPECT_EQ(used.min(), 20);
  EXPECT_EQ(used.mean(), 28.75);
  EXPECT_EQ(used.max(), 37.5);
  EXPECT_EQ(used.first(), 20);
  EXPECT_EQ(used.last(), 37.5);
  EXPECT_EQ(run.rollups(2).count(), 7);  // the first sample had none
  EXPECT_EQ(run.rollups(2).max(), 0.84);

  const v1::RunReport killed = MustBuild({}, {"j-0000000001.2"}).runs(0);
  EXPECT_EQ(killed.rollups(1).count(), 2);
}

TEST_F(ReportTest, DescribesTheMetricsThatAppear) {
  const v1::Report report = MustBuild({kStaircaseJob});
  ASSERT_EQ(report.metrics_size(), 5);
  EXPECT_EQ(report.metrics(1).name(), "mem_used_percent");
  EXPECT_EQ(report.metrics(1).kind(), "gauge");
  EXPECT_EQ(report.metrics(4).name(), "vm_pgmajfault_total");
  EXPECT_EQ(report.metrics(4).kind(), "counter");
  EXPECT_EQ(report.metrics(4).source(), metrics::FindMetric("vm_pgmajfault_total")->source);
  EXPECT_EQ(report.metrics(4).help(), metrics::FindMetric("vm_pgmajfault_total")->help);
}

TEST_F(ReportTest, DecodesTheEventsOfTheLastAttempt) {
  const v1::Report report = MustBuild({kStaircaseJob});
  const auto& events = report.runs(0).events();
  ASSERT_EQ(events.size(), 3);
  EXPECT_EQ(events[0].kind(), v1::Event::PHASE_STARTED);
  EXPECT_EQ(events[1].message(), "step 1");
  EXPECT_EQ(events[2].value(), 209715200);
  ASSERT_EQ(report.runs(1).events_size(), 1);
  EXPECT_EQ(report.runs(1).events(0).message(), "内存不足");
}

TEST_F(ReportTest, HasSamplesOnlyWhereTheyAreAskedFor) {
  EXPECT_FALSE(MustBuild({}, {"j-0000000001.1"}).runs(0).has_samples());
  const v1::SampleSeries samples = MustBuild({}, {"j-0000000001.1"}, {.include_samples = true}).runs(0).samples();
  EXPECT_EQ(samples.stride(), 1);
  EXPECT_THAT(samples.offset_ms(), ElementsAre(0, 500, 1000, 1500, 2000, 2500, 3000, 3500));
  ASSERT_EQ(samples.columns_size(), 5);
  EXPECT_EQ(samples.columns(1).metric(), "mem_used_percent");
  EXPECT_THAT(samples.columns(1).values(), ElementsAre(20, 22.5, 25, 27.5, 30, 32.5, 35, 37.5));
  EXPECT_EQ(samples.columns(2).metric(), "psi_memory_some_avg10");
  EXPECT_THAT(samples.columns(2).values(), ElementsAre(IsNan(), 0.12, 0.24, 0.36, 0.48, 0.6, 0.72, 0.84));
}

TEST_F(ReportTest, ThinsLongSeriesAcrossChunksAndKeepsBothEnds) {
  const auto offsets = [this](std::uint32_t max_samples) {
    const v1::SampleSeries samples =
        MustBuild({}, {"j-0000000001.1"}, {.include_samples = true, .max_samples_per_run = max_samples})
            .runs(0)
            .samples();
    return std::vector<double>(samples.offset_ms().begin(), samples.offset_ms().end());
  };
  EXPECT_THAT(offsets(8), ElementsAre(0, 500, 1000, 1500, 2000, 2500, 3000, 3500));
  EXPECT_THAT(offsets(5), ElementsAre(0, 1000, 2000, 3000, 3500));
  EXPECT_THAT(offsets(2), ElementsAre(0, 3500));
}

TEST_F(ReportTest, KeepsTheLastSampleWhereTheStridePassesOverItsChunk) {
  metrics::ChunkBuilder builder;
  v1::Run run;
  run.set_run_id("j-0000000001.5");
  run.set_job_id(kStaircaseJob);
  run.set_device_id(kDevice);
  run.add_attempts()->set_attempt(1);
  storage::WriteBatch batch = {storage::PutRun{.run = run}};
  metrics::SampleRow row = metrics::EmptyRow();
  for (int i = 0; i < 60; ++i) {
    row[metrics::IndexOf(MetricId::kLoadAvg1)] = i;
    builder.AddSample(std::chrono::milliseconds(i), row);
    batch.push_back(storage::PutChunk{
        .run_id = run.run_id(), .attempt = 1, .seq = static_cast<std::uint64_t>(i) + 2, .chunk = builder.Finish()});
  }
  Write(std::move(batch));
  const v1::SampleSeries samples =
      MustBuild({}, {run.run_id()}, {.include_samples = true, .max_samples_per_run = 5}).runs(0).samples();
  EXPECT_EQ(samples.stride(), 16);
  EXPECT_THAT(samples.offset_ms(), ElementsAre(0, 16, 32, 48, 59));
}

TEST_F(ReportTest, LeavesOutAChunkThatCannotBeDecodedAndSaysSo) {
  metrics::ChunkBuilder builder;
  builder.AddSample({}, metrics::EmptyRow());
  v1::Event event;
  event.set_message("unreadable");
  builder.AddEvent(event);
  v1::Chunk damaged = builder.Finish();
  damaged.mutable_body()->back() = static_cast<char>(damaged.body().back() ^ 1);
  Write({storage::PutChunk{.run_id = "j-0000000001.1", .attempt = 1, .seq = 9, .chunk = damaged}});

  for (const bool include_samples : {false, true}) {
    const v1::Report report = MustBuild({}, {"j-0000000001.1"}, {.include_samples = include_samples});
    EXPECT_EQ(report.runs(0).events_size(), 3);
    EXPECT_EQ(report.runs(0).samples().offset_ms_size(), include_samples ? 8 : 0);
    ASSERT_EQ(report.warnings_size(), 1);
    EXPECT_THAT(report.warnings(0), AllOf(HasSubstr("run j-0000000001.1: 1 of its chunks cannot be decoded"),
                                          HasSubstr("the first is chunk 9")));
  }
}

TEST_F(ReportTest, SummariesStandForSamplesThatWereThinned) {
  metrics::ChunkBuilder builder;
  v1::Run run;
  run.set_run_id("j-0000000001.5");
  run.set_job_id(kStaircaseJob);
  run.set_device_id(kDevice);
  run.set_state(v1::Run::ENDED);
  run.add_attempts()->set_attempt(1);
  storage::WriteBatch batch = {storage::PutRun{.run = run}};
  storage::ThinChunks thin{
      .run_id = run.run_id(), .attempt = 1, .first_seq = 2, .last_seq = 3, .summary = {}, .events = {}};
  for (int i = 0; i < 3; ++i) {
    metrics::SampleRow row = metrics::EmptyRow();
    row[metrics::IndexOf(MetricId::kLoadAvg1)] = 100 * i;
    builder.AddSample(std::chrono::milliseconds(1000 * i), row);
    const v1::Chunk chunk = builder.Finish();
    if (i == 0) thin.summary = chunk.header();
    if (i == 1) {
      *thin.summary.mutable_end_offset() = chunk.header().end_offset();
      metrics::MergeSummary(chunk.header().summaries(0), thin.summary.mutable_summaries(0));
    }
    batch.push_back(storage::PutChunk{
        .run_id = run.run_id(), .attempt = 1, .seq = static_cast<std::uint64_t>(i) + 2, .chunk = chunk});
  }
  v1::Event event;
  event.set_message("kept");
  builder.AddSample({}, metrics::EmptyRow());
  builder.AddEvent(event);
  thin.events = builder.Finish();
  batch.push_back(std::move(thin));
  batch.push_back(storage::MarkThinned{.run_id = run.run_id(), .time = base::SystemTime(), .done = true});
  Write(std::move(batch));

  const v1::Report report = MustBuild({}, {run.run_id()}, {.include_samples = true});
  const v1::SampleSeries& samples = report.runs(0).samples();
  EXPECT_THAT(samples.offset_ms(), ElementsAre(1000, 2000));
  ASSERT_EQ(samples.columns_size(), 1);
  EXPECT_THAT(samples.columns(0).values(), ElementsAre(0.5, 2));
  ASSERT_EQ(report.runs(0).events_size(), 1);
  EXPECT_EQ(report.runs(0).events(0).message(), "kept");
  EXPECT_EQ(report.runs(0).rollups(0).count(), 3);
  ASSERT_EQ(report.warnings_size(), 1);
  EXPECT_THAT(report.warnings(0), HasSubstr("were thinned to summaries"));
}

TEST_F(ReportTest, BoundsTheEventsOfARunAndSaysSo) {
  constexpr std::uint64_t kPerChunk = 2500;
  storage::WriteBatch batch;
  metrics::ChunkBuilder builder;
  for (std::uint64_t seq = 100; seq < 105; ++seq) {
    for (std::uint64_t i = 0; i < kPerChunk; ++i) builder.AddEvent(v1::Event());
    batch.push_back(storage::PutChunk{.run_id = "j-0000000001.1", .attempt = 1, .seq = seq, .chunk = builder.Finish()});
  }
  Write(std::move(batch));
  const v1::Report report = MustBuild({}, {"j-0000000001.1"});
  EXPECT_EQ(report.runs(0).events_size(), static_cast<int>(kMaxEventsPerRun));
  ASSERT_EQ(report.warnings_size(), 1);
  EXPECT_THAT(report.warnings(0), HasSubstr("only its first 10000 events are here, 2503 later ones are left out"));
}

TEST_F(ReportTest, SumsUpEndedRunsByDeviceAndOverAll) {
  const v1::Report report = MustBuild({kStaircaseJob, kBurstJob});
  ASSERT_EQ(report.by_device_size(), 2);
  const v1::GroupSummary& device = report.by_device(0);
  EXPECT_EQ(device.group(), kDevice);
  EXPECT_EQ(device.run_count(), 4);  // one of them still running
  ASSERT_EQ(device.outcomes_size(), 2);
  EXPECT_EQ(device.outcomes(0).outcome(), v1::COMPLETED);
  EXPECT_EQ(device.outcomes(0).count(), 2);
  EXPECT_EQ(device.outcomes(1).outcome(), v1::OOM_KILLED);
  const auto duration = std::ranges::find(device.figures(), "duration_seconds", &v1::FigureStatistics::name);
  ASSERT_NE(duration, device.figures().end());
  EXPECT_EQ(duration->n(), 3);
  EXPECT_EQ(duration->min(), 2.25);
  EXPECT_EQ(duration->median(), 5);
  EXPECT_EQ(duration->max(), 8);
  EXPECT_EQ(report.by_device(1).run_count(), 2);
  EXPECT_EQ(report.overall().run_count(), 6);
  EXPECT_EQ(report.overall().outcomes_size(), 4);
}

TEST_F(ReportTest, SumsUpTheVariantsOfAMatrix) {
  EXPECT_EQ(MustBuild({kStaircaseJob, kBurstJob}).by_variant_size(), 0);
  WriteMatrixJob();
  const v1::Report report = MustBuild({kMatrixJob});
  ASSERT_EQ(report.by_variant_size(), 2);
  EXPECT_EQ(report.by_variant(0).group(), "4gb");
  EXPECT_EQ(report.by_variant(0).run_count(), 1);
  EXPECT_GT(report.by_variant(0).figures_size(), 0);
  EXPECT_EQ(report.by_variant(1).group(), "none");
  EXPECT_EQ(report.overall().run_count(), 2);
  EXPECT_EQ(MustBuild({kMatrixJob, kBurstJob}).by_variant_size(), 2) << "a job without a matrix has no variant";
  // The table names what each run was in, by the profile.
  const std::string csv = ReportToCsv(report);
  EXPECT_THAT(csv, HasSubstr(std::string(kMatrixJob) + ".1"));
  EXPECT_THAT(csv, HasSubstr(",4gb,1,"));
  EXPECT_THAT(csv, Not(HasSubstr("none")));
}

TEST_F(ReportTest, KeepsRunsAsTheyAreStored) {
  const absl::StatusOr<v1::Run> stored = store_->GetRun("j-0000000001.2");
  ASSERT_TRUE(stored.ok());
  // As JSON, since the order of a map's entries on the wire is nobody's promise.
  EXPECT_EQ(render::ToJson(MustBuild({}, {"j-0000000001.2"}).runs(0).run()), render::ToJson(*stored));
}

// A report may be asked for while a soak goes on: its result is not there yet, but its events and samples are.
TEST_F(ReportTest, HasTheCyclesOfASoakThatGoesOn) {
  v1::Run run;
  run.set_run_id("j-0000000002.3");
  run.set_job_id(kBurstJob);
  run.set_device_id(kDevice);
  run.set_workload_kind("stability");
  run.set_state(v1::Run::RUNNING);
  run.add_attempts()->set_attempt(1);
  metrics::ChunkBuilder builder;
  for (const int second : {1, 2, 3, 4}) {
    metrics::SampleRow row = metrics::EmptyRow();
    row[metrics::IndexOf(MetricId::kAgentRssBytes)] = 1000 * second;
    row[metrics::IndexOf(MetricId::kMemLimitBytes)] = 9000;
    row[metrics::IndexOf(MetricId::kMemLimitAvailableBytes)] = 4000;
    builder.AddSample(std::chrono::seconds(second), row);
  }
  for (const int cycle : {7, 8}) {
    v1::Event event;
    event.mutable_offset()->set_seconds(2 * (cycle - 6));
    event.set_kind(v1::Event::CYCLE_COMPLETED);
    event.set_message(cycle == 7 ? "cycle 7: COMPLETED" : "cycle 8: OOM_KILLED");
    event.set_value(cycle);
    builder.AddEvent(event);
  }
  Write({storage::PutRun{.run = run},
         storage::PutChunk{.run_id = run.run_id(), .attempt = 1, .seq = 2, .chunk = builder.Finish()}});
  const v1::SoakReport soak = MustBuild({}, {run.run_id()}).runs(0).soak();
  EXPECT_EQ(soak.cycle_count(), 2);
  EXPECT_EQ(soak.survived_count(), 1);
  ASSERT_EQ(soak.cycles_size(), 2);
  EXPECT_EQ(soak.cycles(0).index(), 7);
  EXPECT_EQ(soak.cycles(0).agent_resident_bytes(), 2000);
  EXPECT_EQ(soak.cycles(1).start_offset().seconds(), 2);
  EXPECT_EQ(soak.cycles(1).end_offset().seconds(), 4);
  EXPECT_EQ(soak.cycles(1).outcome(), v1::OOM_KILLED);
  EXPECT_EQ(soak.cycles(1).system_used_bytes(), 5000);
}

}  // namespace
}  // namespace ballast::report
