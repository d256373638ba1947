#include "coordinator/retention/retention.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/metrics/chunk_codec.h"
#include "coordinator/retention/thinning.h"
#include "storage/sqlite/sqlite_store.h"

namespace ballast::retention {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class FixedClock final : public base::Clock {
 public:
  [[nodiscard]] base::SystemTime Now() const override { return base::SystemTime(hours(1000)); }
  [[nodiscard]] std::chrono::nanoseconds Monotonic() const override { return std::chrono::nanoseconds(0); }
};

class RetentionTest : public testing::Test {
 protected:
  RetentionTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ballast-retention-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    store_ = std::move(storage::OpenSqliteStore(directory_ / "ballast.db")).value();
    v1::Device device;
    device.set_device_id("d-1");
    Put({storage::PutDevice{device}});
  }
  ~RetentionTest() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Put(storage::WriteBatch batch) {
    const absl::Status status = store_->WriteAndWait(std::move(batch));
    ASSERT_TRUE(status.ok()) << status.ToString();
  }

  // A job with one run that has ended so long ago, with so many chunks of five seconds with one sample each.
  void PutJob(const std::string& job_id, hours ago, int chunks, v1::Run::State state = v1::Run::ENDED,
              bool given_up = false) {
    v1::Job job;
    job.set_job_id(job_id);
    *job.mutable_create_time() = base::ToProto(clock_.Now() - ago - hours(1));
    job.set_state(state == v1::Run::ENDED ? v1::Job::FINISHED : v1::Job::RUNNING);
    if (state == v1::Run::ENDED) *job.mutable_end_time() = base::ToProto(clock_.Now() - ago);
    v1::Run run;
    run.set_run_id(job_id + ".1");
    run.set_job_id(job_id);
    run.set_device_id("d-1");
    run.set_state(state);
    *run.mutable_create_time() = job.create_time();
    if (state == v1::Run::ENDED) *run.mutable_end_time() = job.end_time();
    run.add_attempts()->set_attempt(1);
    run.mutable_attempts(0)->set_given_up(given_up);
    storage::WriteBatch batch{storage::PutJob{job}, storage::PutRun{run}};
    metrics::ChunkBuilder builder;
    for (int i = 0; i < chunks; ++i) {
      metrics::SampleRow row = metrics::EmptyRow();
      row[0] = i;
      builder.AddSample(seconds(5 * i), row);
      batch.emplace_back(storage::PutChunk{
          .run_id = run.run_id(), .attempt = 1, .seq = static_cast<std::uint64_t>(i + 2), .chunk = builder.Finish()});
    }
    Put(std::move(batch));
  }

  v1::RetentionConfig Config(int sample_hours, int job_hours) {
    v1::RetentionConfig config;
    if (sample_hours > 0) config.mutable_samples()->set_seconds(3600 * sample_hours);
    if (job_hours > 0) config.mutable_jobs()->set_seconds(3600 * job_hours);
    config.mutable_summary_interval()->set_seconds(60);
    config.mutable_interval()->set_seconds(1);
    return config;
  }

  PassCount Pass(const v1::RetentionConfig& config) {
    Removal removal;
    removal.run = [this](const std::string& job_id, const std::string& run_id) {
      if (job_id == busy_job_) return absl::UnavailableError("busy");
      return store_->WriteAndWait({storage::DeleteRun{run_id}});
    };
    removal.job = [this](const std::string& job_id) { return store_->WriteAndWait({storage::DeleteJob{job_id}}); };
    removal.audit = [this](base::SystemTime before) {
      audit_before_ = before;
      return absl::OkStatus();
    };
    Retention retention(store_.get(), &clock_, config, removal);
    const absl::StatusOr<PassCount> count = retention.Pass({});
    EXPECT_TRUE(count.ok()) << count.status().ToString();
    return count.value_or(PassCount{});
  }

  std::vector<std::uint64_t> WholeChunks(const std::string& run_id) {
    std::vector<std::uint64_t> seqs;
    EXPECT_TRUE(store_
                    ->ReadWholeChunks(run_id, 1,
                                      [&](std::uint64_t seq, const v1::Chunk&) {
                                        seqs.push_back(seq);
                                        return absl::OkStatus();
                                      })
                    .ok());
    return seqs;
  }

  std::vector<std::uint32_t> Summaries(const std::string& run_id) {
    std::vector<std::uint32_t> counts;
    EXPECT_TRUE(store_
                    ->ReadSummaries(run_id, 1,
                                    [&](std::uint64_t, const v1::ChunkHeader& header) {
                                      counts.push_back(header.sample_count());
                                      return absl::OkStatus();
                                    })
                    .ok());
    return counts;
  }

  bool Exists(const std::string& job_id) { return store_->GetJob(job_id).ok(); }

  FixedClock clock_;
  std::filesystem::path directory_;
  std::unique_ptr<storage::Store> store_;
  std::string busy_job_;
  std::optional<base::SystemTime> audit_before_;
};

TEST_F(RetentionTest, ThinsRunsThatEndedLongAgo) {
  PutJob("j-1", hours(49), 30);
  PutJob("j-2", hours(47), 2);
  EXPECT_EQ(Pass(Config(48, 0)).thinned_runs, 1);
  EXPECT_THAT(WholeChunks("j-1.1"), IsEmpty());
  EXPECT_THAT(Summaries("j-1.1"), ElementsAre(12, 12, 6));  // a minute each
  EXPECT_EQ(store_->GetRollups("j-1.1", 1)->front().count(), 30);
  EXPECT_EQ(base::FromProto(store_->GetRun("j-1.1")->samples_thinned_time()), clock_.Now());
  EXPECT_THAT(WholeChunks("j-2.1"), ElementsAre(2, 3));
  EXPECT_FALSE(store_->GetRun("j-2.1")->has_samples_thinned_time());
  EXPECT_EQ(Pass(Config(48, 0)).thinned_runs, 0) << "it is done";
}

TEST_F(RetentionTest, LeavesRunsThatHaveNotEnded) {
  PutJob("j-1", hours(100), 3, v1::Run::RUNNING);
  EXPECT_EQ(Pass(Config(1, 1)).thinned_runs, 0);
  EXPECT_THAT(WholeChunks("j-1.1"), ElementsAre(2, 3, 4));
  EXPECT_TRUE(Exists("j-1"));
}

TEST_F(RetentionTest, LeavesRunsOfWhichTheDeviceMayStillBringRecords) {
  PutJob("j-1", hours(100), 3, v1::Run::ENDED, true);
  PutJob("j-2", hours(1), 0);
  EXPECT_EQ(Pass(Config(1, 1)).thinned_runs, 0);
  EXPECT_THAT(WholeChunks("j-1.1"), ElementsAre(2, 3, 4));
  EXPECT_TRUE(Exists("j-1"));
  // Its word came late.
  v1::Run run = store_->GetRun("j-1.1").value();
  run.add_late_results()->set_attempt(1);
  Put({storage::PutRun{run}});
  EXPECT_EQ(Pass(Config(1, 0)).thinned_runs, 1);
  EXPECT_EQ(Pass(Config(0, 1)).removed_jobs, 1);
}

TEST_F(RetentionTest, ADeviceThatWasRemovedBringsNothing) {
  PutJob("j-1", hours(100), 3, v1::Run::ENDED, true);
  Put({storage::DeleteDevice{"d-1"}});
  EXPECT_EQ(Pass(Config(1, 0)).thinned_runs, 1);
}

TEST_F(RetentionTest, ThinsWhatCameLater) {
  PutJob("j-1", hours(49), 3);
  EXPECT_EQ(Pass(Config(48, 0)).thinned_runs, 1);
  metrics::ChunkBuilder builder;
  builder.AddSample(seconds(15), metrics::EmptyRow());
  Put({storage::PutChunk{.run_id = "j-1.1", .attempt = 1, .seq = 5, .chunk = builder.Finish()}});
  EXPECT_THAT(WholeChunks("j-1.1"), ElementsAre(5));
  EXPECT_EQ(Pass(Config(48, 0)).thinned_runs, 1);
  EXPECT_THAT(WholeChunks("j-1.1"), IsEmpty());
  EXPECT_THAT(Summaries("j-1.1"), ElementsAre(3, 1));
}

TEST_F(RetentionTest, LeavesDamagedChunksAsTheyAre) {
  PutJob("j-1", hours(49), 2);
  v1::Chunk damaged;
  damaged.set_body("nothing");
  metrics::ChunkBuilder builder;
  builder.AddSample(seconds(15), metrics::EmptyRow());
  Put({storage::PutChunk{.run_id = "j-1.1", .attempt = 1, .seq = 4, .chunk = damaged},
       storage::PutChunk{.run_id = "j-1.1", .attempt = 1, .seq = 5, .chunk = builder.Finish()}});
  EXPECT_EQ(Pass(Config(48, 0)).thinned_runs, 1);
  EXPECT_THAT(WholeChunks("j-1.1"), ElementsAre(4));
  EXPECT_THAT(Summaries("j-1.1"), ElementsAre(2, 1));
  EXPECT_EQ(Pass(Config(48, 0)).thinned_runs, 0);
}

TEST_F(RetentionTest, RemovesJobsButNeverTheNewest) {
  PutJob("j-1", hours(300), 200);
  PutJob("j-2", hours(10), 1);
  PutJob("j-3", hours(200), 1);
  EXPECT_EQ(Pass(Config(0, 100)).removed_jobs, 1);
  EXPECT_FALSE(Exists("j-1"));
  EXPECT_TRUE(absl::IsNotFound(store_->GetRun("j-1.1").status()));
  EXPECT_TRUE(Exists("j-2"));
  EXPECT_TRUE(Exists("j-3"));
}

TEST_F(RetentionTest, AJobThatIsBusyGoesLater) {
  PutJob("j-1", hours(300), 1);
  PutJob("j-2", hours(1), 1);
  busy_job_ = "j-1";
  EXPECT_EQ(Pass(Config(0, 100)).removed_jobs, 0);
  EXPECT_TRUE(Exists("j-1"));
  busy_job_.clear();
  EXPECT_EQ(Pass(Config(0, 100)).removed_jobs, 1);
}

TEST_F(RetentionTest, GivesSpaceBackAndKeepsSomeForWhatComes) {
  PutJob("j-1", hours(300), 1);
  PutJob("j-2", hours(1), 0);
  v1::Chunk large;
  large.set_body(std::string(40U << 20U, 'x'));
  Put({storage::PutChunk{.run_id = "j-1.1", .attempt = 1, .seq = 9, .chunk = large}});
  const std::uint64_t before = store_->GetSpaceUse()->total_bytes;
  EXPECT_GT(Pass(Config(0, 100)).released_bytes, 20U << 20U);
  const storage::SpaceUse after = store_->GetSpaceUse().value();
  EXPECT_LT(after.total_bytes, before - (20U << 20U));
  EXPECT_LE(after.free_bytes, 16U << 20U);
}

TEST_F(RetentionTest, AsksForOldEntriesOfTheAuditLogToGo) {
  v1::RetentionConfig config = Config(0, 0);
  Pass(config);
  EXPECT_FALSE(audit_before_.has_value());
  config.mutable_audit()->set_seconds(3600);
  Pass(config);
  EXPECT_EQ(audit_before_, clock_.Now() - hours(1));
}

TEST_F(RetentionTest, StopsBetweenTwoStepsAndGoesOnLater) {
  PutJob("j-1", hours(49), 1000);
  std::stop_source stop;
  int steps = 0;
  const Step step = [&](storage::WriteBatch batch) -> absl::Status {
    if (++steps == 3) return absl::CancelledError("enough");
    return store_->WriteAndWait(std::move(batch));
  };
  const v1::Run run = store_->GetRun("j-1.1").value();
  EXPECT_TRUE(absl::IsCancelled(ThinRun(*store_, run, seconds(60), clock_.Now(), step)));
  const std::size_t left = WholeChunks("j-1.1").size();
  EXPECT_GT(left, 0);
  EXPECT_LT(left, 1000);
  EXPECT_TRUE(store_->GetRun("j-1.1")->has_samples_thinned_time());
  EXPECT_EQ(Pass(Config(48, 0)).thinned_runs, 1);
  EXPECT_THAT(WholeChunks("j-1.1"), IsEmpty());
  std::uint32_t samples = 0;
  for (const std::uint32_t count : Summaries("j-1.1")) samples += count;
  EXPECT_EQ(samples, 1000);
}

}  // namespace
}  // namespace ballast::retention
