// What every store promises of writing and of reading single things.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "common/metrics/chunk_codec.h"
#include "tests/contract/stores.h"

namespace ballast::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class StoreWriteContractTest : public StoreContractTest {
 protected:
  void ExpectRefused(WriteBatch batch, absl::StatusCode code, const std::string& reason) {
    const absl::Status status = store().WriteAndWait(std::move(batch));
    EXPECT_EQ(status.code(), code) << status.ToString();
    EXPECT_THAT(std::string(status.message()), HasSubstr(reason));
  }

  std::vector<std::uint64_t> ChunksOf(const std::string& run_id, std::uint32_t attempt) {
    std::vector<std::uint64_t> seqs;
    const absl::Status status = store().ReadChunks(run_id, attempt, [&](std::uint64_t seq, const v1::Chunk&) {
      seqs.push_back(seq);
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status.ToString();
    return seqs;
  }

  std::vector<std::string> RunIds(absl::StatusOr<std::vector<v1::Run>> runs) {
    EXPECT_TRUE(runs.ok()) << runs.status().ToString();
    std::vector<std::string> ids;
    for (const v1::Run& run : *runs) ids.push_back(run.run_id());
    return ids;
  }
};

INSTANTIATE_TEST_SUITE_P(Stores, StoreWriteContractTest, testing::ValuesIn(AllStoreKinds()),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(StoreWriteContractTest, WhatIsPutIsThereAlsoAfterReopening) {
  v1::Job job = MakeJob("j-2", 200);
  job.mutable_spec()->set_display_name("限压");
  v1::Run run = MakeRun("j-2.1", 200);
  run.add_attempts()->set_boot_id("boot");
  Put({PutJob{job}, PutDevice{MakeDevice("d-2", {{"ram", "4g"}})}, PutRun{run}, MakeChunk("j-2.1", 1, 1)});
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(store().GetJob("j-2")->SerializeAsString(), job.SerializeAsString());
    EXPECT_EQ(store().GetRun("j-2.1")->SerializeAsString(), run.SerializeAsString());
    EXPECT_EQ(store().GetDevice("d-2")->labels().at("ram"), "4g");
    EXPECT_THAT(ChunksOf("j-2.1", 1), ElementsAre(1));
    EXPECT_EQ(store().GetRollups("j-2.1", 1)->size(), 1U);
    Reopen();
  }
}

TEST_P(StoreWriteContractTest, PuttingAgainReplaces) {
  Put({PutJob{MakeJob("j-1", 100, v1::Job::FINISHED)}, PutRun{MakeRun("j-1.1")}});
  Put({PutRun{MakeRun("j-1.1", 100, v1::Run::ENDED)}, PutDevice{MakeDevice("d-1", {{"a", "b"}})}});
  EXPECT_EQ(store().GetJob("j-1")->state(), v1::Job::FINISHED);
  EXPECT_EQ(store().GetRun("j-1.1")->state(), v1::Run::ENDED);
  EXPECT_EQ(store().GetDevice("d-1")->labels().at("a"), "b");
  EXPECT_THAT(RunIds(store().RunsOfJob("j-1")), ElementsAre("j-1.1"));
}

TEST_P(StoreWriteContractTest, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(store().GetJob("j-9").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store().GetRun("j-9.1").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store().GetDevice("d-9").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store().FindJobByRequestId("r-9").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store().FindJobByRequestId("").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(*store().RunsOfJob("j-9"), IsEmpty());
  EXPECT_THAT(*store().GetRollups("j-9.1", 1), IsEmpty());
  EXPECT_THAT(ChunksOf("j-9.1", 1), IsEmpty());
}

TEST_P(StoreWriteContractTest, TheGreatestIdentifierOfAJobIsThatWhichSortsLastWhateverItsTimeAndState) {
  EXPECT_EQ(*store().GreatestJobId(), "j-1");
  Put({PutJob{MakeJob("j-3", 50, v1::Job::FINISHED)}, PutJob{MakeJob("j-2", 300)}});
  EXPECT_EQ(*store().GreatestJobId(), "j-3");
  Reopen();
  EXPECT_EQ(*store().GreatestJobId(), "j-3");
}

TEST_P(StoreWriteContractTest, AJobIsFoundByItsRequestAlone) {
  v1::Job job = MakeJob("j-2");
  job.set_request_id("request");
  Put({PutJob{job}, PutJob{MakeJob("j-3")}, PutJob{MakeJob("j-4")}});  // any number may have none
  EXPECT_EQ(store().FindJobByRequestId("request")->job_id(), "j-2");
  job.set_state(v1::Job::FINISHED);
  Put({PutJob{job}});
  EXPECT_EQ(store().FindJobByRequestId("request")->state(), v1::Job::FINISHED);
  job.set_job_id("j-5");
  ExpectRefused({PutJob{job}}, absl::StatusCode::kAlreadyExists, "j-5");
  EXPECT_EQ(store().GetJob("j-5").status().code(), absl::StatusCode::kNotFound);
}

TEST_P(StoreWriteContractTest, ReferencesMustExist) {
  v1::Run run = MakeRun("j-1.1");
  run.set_device_id("d-9");
  ExpectRefused({PutRun{run}}, absl::StatusCode::kFailedPrecondition, "device d-9 does not exist");
  ExpectRefused({PutRun{MakeRun("j-9.1")}}, absl::StatusCode::kFailedPrecondition, "job j-9 does not exist");
  ExpectRefused({MakeChunk("j-1.9", 1, 1)}, absl::StatusCode::kFailedPrecondition, "run j-1.9 does not exist");
}

TEST_P(StoreWriteContractTest, WhatCannotBeKeptIsRefused) {
  ExpectRefused({PutJob{}}, absl::StatusCode::kInvalidArgument, "identifier");
  ExpectRefused({PutRun{}}, absl::StatusCode::kInvalidArgument, "identifier");
  ExpectRefused({PutDevice{}}, absl::StatusCode::kInvalidArgument, "identifier");
  Put({PutRun{MakeRun("j-1.1")}});
  ExpectRefused({MakeChunk("j-1.1", 1, UINT64_MAX)}, absl::StatusCode::kInvalidArgument, "too large");
}

TEST_P(StoreWriteContractTest, ABatchIsAllOrNothing) {
  ExpectRefused({PutJob{MakeJob("j-2")}, PutRun{MakeRun("j-2.1")}, MakeChunk("j-2.1", 1, 1), MakeChunk("j-2.9", 1, 1)},
                absl::StatusCode::kFailedPrecondition, "j-2.9");
  EXPECT_EQ(store().GetJob("j-2").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store().GetRun("j-2.1").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(ChunksOf("j-2.1", 1), IsEmpty());
  EXPECT_THAT(*store().GetRollups("j-2.1", 1), IsEmpty());
}

TEST_P(StoreWriteContractTest, ABadBatchHurtsNoOther) {
  // Everything is queued while the writer is held up in the callback of the first, so that it is one group.
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> order;
  bool go = false;
  store().Write({PutJob{MakeJob("j-2")}}, [&](const absl::Status&) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return go; });
  });
  for (const char* const job : {"j-3", "", "j-4"}) {
    store().Write({PutJob{MakeJob(job)}}, [&, job](const absl::Status& status) {
      const std::lock_guard lock(mutex);
      order.push_back(fmt::format("{} {}", job, status.ok()));
      changed.notify_one();
    });
  }
  std::unique_lock lock(mutex);
  go = true;
  changed.notify_one();
  changed.wait(lock, [&] { return order.size() == 3; });
  EXPECT_THAT(order, ElementsAre("j-3 true", " false", "j-4 true"));
  EXPECT_TRUE(store().GetJob("j-3").ok());
  EXPECT_TRUE(store().GetJob("j-4").ok());
}

TEST_P(StoreWriteContractTest, AnEmptyBatchIsDone) {
  EXPECT_TRUE(store().WriteAndWait({}).ok());
}

TEST_P(StoreWriteContractTest, AChunkCountsOnce) {
  Put({PutRun{MakeRun("j-1.1")}, MakeChunk("j-1.1", 1, 2, {5, 7})});
  Put({MakeChunk("j-1.1", 1, 2, {5, 7}), MakeChunk("j-1.1", 1, 2, {900})});
  EXPECT_THAT(ChunksOf("j-1.1", 1), ElementsAre(2));
  const auto rollups = store().GetRollups("j-1.1", 1);
  ASSERT_EQ(rollups->size(), 1U);
  EXPECT_EQ((*rollups)[0].count(), 2U);
  EXPECT_EQ((*rollups)[0].max(), 7);
  EXPECT_EQ((*rollups)[0].sum(), 12.0);
}

TEST_P(StoreWriteContractTest, RollupsCoverAllChunksInWhateverOrderTheyCame) {
  Put({PutRun{MakeRun("j-1.1")}});
  Put({MakeChunk("j-1.1", 1, 3, {-4, 6}), MakeChunk("j-1.1", 1, 2, {10, 20})});
  Put({MakeChunk("j-1.1", 1, 4, {1, 2, 3}), MakeChunk("j-1.1", 2, 2, {99})});
  const auto rollups = store().GetRollups("j-1.1", 1);
  ASSERT_EQ(rollups->size(), 1U);
  const v1::MetricSummary& summary = (*rollups)[0];
  EXPECT_EQ(summary.metric_id(), 1U);
  EXPECT_EQ(summary.count(), 7U);
  EXPECT_EQ(summary.min(), -4);
  EXPECT_EQ(summary.max(), 20);
  EXPECT_EQ(summary.first(), 10);
  EXPECT_EQ(summary.last(), 3);
  EXPECT_EQ(summary.sum(), 38.0);
  EXPECT_EQ((*store().GetRollups("j-1.1", 2))[0].last(), 99);
}

TEST_P(StoreWriteContractTest, RollupsAreWhatMergingInOrderGives) {
  std::mt19937 random(7);
  for (int round = 1; round <= 20; ++round) {
    const std::string run_id = fmt::format("j-1.{}", round);
    WriteBatch batch;
    v1::MetricSummary expected;
    for (std::uint64_t seq = 2; seq < 10; ++seq) {
      const auto value = [&random] { return std::uniform_int_distribution<std::int64_t>(-1000, 1000)(random); };
      batch.push_back(MakeChunk(run_id, 1, seq, {value(), value(), value()}));
      metrics::MergeSummary(std::get<PutChunk>(batch.back()).chunk.header().summaries(0), &expected);
    }
    std::ranges::shuffle(batch, random);
    batch.insert(batch.begin(), PutRun{MakeRun(run_id)});
    Put(std::move(batch));
    const auto rollups = store().GetRollups(run_id, 1);
    ASSERT_EQ(rollups->size(), 1U);
    EXPECT_EQ((*rollups)[0].SerializeAsString(), expected.SerializeAsString()) << (*rollups)[0].ShortDebugString();
  }
}

TEST_P(StoreWriteContractTest, RollupsAreOrderedByMetric) {
  PutChunk put = MakeChunk("j-1.1", 1, 1);
  for (const std::uint32_t id : {7U, 30U, 900U}) {
    v1::MetricSummary summary = put.chunk.header().summaries(0);
    summary.set_metric_id(id);
    *put.chunk.mutable_header()->add_summaries() = summary;
  }
  Put({PutRun{MakeRun("j-1.1")}, put});
  std::vector<std::uint32_t> ids;
  const auto rollups = store().GetRollups("j-1.1", 1);
  ASSERT_TRUE(rollups.ok()) << rollups.status().ToString();
  for (const v1::MetricSummary& summary : *rollups) ids.push_back(summary.metric_id());
  EXPECT_THAT(ids, ElementsAre(1, 7, 30, 900));
}

TEST_P(StoreWriteContractTest, ChunksComeBackInOrderAndUnchanged) {
  WriteBatch batch = {PutRun{MakeRun("j-1.1")}};
  for (const std::uint64_t seq : {10U, 2U, 9U, 1U}) batch.push_back(MakeChunk("j-1.1", 1, seq));
  PutChunk large = MakeChunk("j-1.1", 1, 3);
  large.chunk.set_body(std::string(3U << 20U, 'x'));
  batch.push_back(large);
  batch.push_back(MakeChunk("j-1.1", 2, 5));
  Put(batch);
  EXPECT_THAT(ChunksOf("j-1.1", 1), ElementsAre(1, 2, 3, 9, 10));
  EXPECT_THAT(ChunksOf("j-1.1", 2), ElementsAre(5));
  const absl::Status status = store().ReadChunks("j-1.1", 1, [&](std::uint64_t seq, const v1::Chunk& chunk) {
    EXPECT_TRUE(seq != 3 || chunk.SerializeAsString() == large.chunk.SerializeAsString());
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok());
}

TEST_P(StoreWriteContractTest, ChunksWithEventsComeWithoutTheOthers) {
  WriteBatch batch = {PutRun{MakeRun("j-1.1")}};
  for (const std::uint64_t seq : {7U, 4U, 5U, 2U}) {
    PutChunk put = MakeChunk("j-1.1", 1, seq);
    put.chunk.mutable_header()->set_event_count(seq == 4 ? 0 : 1);
    batch.push_back(std::move(put));
  }
  PutChunk of_another_attempt = MakeChunk("j-1.1", 2, 3);
  of_another_attempt.chunk.mutable_header()->set_event_count(9);
  batch.push_back(std::move(of_another_attempt));
  Put(std::move(batch));
  std::vector<std::uint64_t> seqs;
  const absl::Status status = store().ReadChunksWithEvents("j-1.1", 1, [&](std::uint64_t seq, const v1::Chunk&) {
    seqs.push_back(seq);
    return seq == 5 ? absl::AbortedError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(seqs, ElementsAre(2, 5));
}

TEST_P(StoreWriteContractTest, ReadingChunksStopsAtAnErrorAndMayCallTheStore) {
  Put({PutRun{MakeRun("j-1.1")}, MakeChunk("j-1.1", 1, 1), MakeChunk("j-1.1", 1, 2), MakeChunk("j-1.1", 1, 3)});
  int visited = 0;
  const absl::Status status = store().ReadChunks("j-1.1", 1, [&](std::uint64_t seq, const v1::Chunk&) {
    ++visited;
    EXPECT_TRUE(store().GetRun("j-1.1").ok());
    EXPECT_TRUE(store().WriteAndWait({PutRun{MakeRun("j-1.1")}}).ok());
    return seq == 2 ? absl::AbortedError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(visited, 2);
}

TEST_P(StoreWriteContractTest, RunsOfAJobAreOrderedByTheirNumber) {
  for (const char* const run : {"j-1.10", "j-1.9", "j-1.2", "j-1.100"}) Put({PutRun{MakeRun(run)}});
  EXPECT_THAT(RunIds(store().RunsOfJob("j-1")), ElementsAre("j-1.2", "j-1.9", "j-1.10", "j-1.100"));
}

TEST_P(StoreWriteContractTest, ARemovedDeviceLeavesItsRuns) {
  Put({PutRun{MakeRun("j-1.1", 100, v1::Run::ENDED)}, DeleteDevice{"d-1"}, DeleteDevice{"d-9"}});
  EXPECT_EQ(store().GetDevice("d-1").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store().GetRun("j-1.1")->device_id(), "d-1");
}

TEST_P(StoreWriteContractTest, ADeviceWithAnOpenRunStays) {
  for (const v1::Run::State state : {v1::Run::QUEUED, v1::Run::ASSIGNED, v1::Run::RUNNING}) {
    Put({PutRun{MakeRun("j-1.1", 100, state)}});
    ExpectRefused({DeleteDevice{"d-1"}}, absl::StatusCode::kFailedPrecondition, "j-1.1");
  }
  EXPECT_TRUE(store().GetDevice("d-1").ok());
}

TEST_P(StoreWriteContractTest, OpenStateHoldsWhatHasNotEnded) {
  Put({PutJob{MakeJob("j-b", 200, v1::Job::QUEUED)}, PutJob{MakeJob("j-a", 300, v1::Job::RUNNING)},
       PutJob{MakeJob("j-c", 50, v1::Job::FINISHED)}, PutJob{MakeJob("j-d", 60, v1::Job::CANCELLED)},
       PutDevice{MakeDevice("d-0")}});
  Put({PutRun{MakeRun("j-a.2")}, PutRun{MakeRun("j-a.10")}, PutRun{MakeRun("j-a.1", 100, v1::Run::ENDED)},
       PutRun{MakeRun("j-b.1")}, PutRun{MakeRun("j-c.1", 100, v1::Run::ENDED)}});
  const auto state = store().LoadOpenState();
  ASSERT_TRUE(state.ok()) << state.status().ToString();
  std::vector<std::string> jobs;
  for (const v1::Job& job : state->jobs) jobs.push_back(job.job_id());
  EXPECT_THAT(jobs, ElementsAre("j-1", "j-b", "j-a"));
  EXPECT_THAT(RunIds(state->runs), ElementsAre("j-b.1", "j-a.1", "j-a.2", "j-a.10"));
  std::vector<std::string> devices;
  for (const v1::Device& device : state->devices) devices.push_back(device.device_id());
  EXPECT_THAT(devices, ElementsAre("d-0", "d-1"));
}

TEST_P(StoreWriteContractTest, ARunThatHasNoDeviceYetIsKeptAndOneThatHadOneNeedsIt) {
  v1::Run run = MakeRun("j-1.7", 100, v1::Run::QUEUED);
  run.clear_device_id();
  Put({PutRun{run}});
  EXPECT_EQ(store().GetRun("j-1.7")->device_id(), "");
  run.set_state(v1::Run::ENDED);  // cancelled while it waited
  Put({PutRun{run}});
  run.set_state(v1::Run::ASSIGNED);
  ExpectRefused({PutRun{run}}, absl::StatusCode::kFailedPrecondition, "device");
  run.set_state(v1::Run::QUEUED);
  run.add_attempts();
  ExpectRefused({PutRun{run}}, absl::StatusCode::kFailedPrecondition, "device");
}

TEST_P(StoreWriteContractTest, PlansAreKeptUntilTheyAreDeleted) {
  v1::Reservation reservation;
  reservation.set_holder("ada");
  ExpectRefused({PutReservation{reservation}}, absl::StatusCode::kInvalidArgument, "reservation");
  reservation.set_reservation_id("v-2");
  v1::Schedule schedule;
  schedule.set_cron("0 2 * * *");
  ExpectRefused({PutSchedule{schedule}}, absl::StatusCode::kInvalidArgument, "schedule");
  schedule.set_schedule_id("nightly");
  Put({PutReservation{reservation}, PutSchedule{schedule}});
  reservation.set_holder("bob");
  schedule.set_paused(true);
  Put({PutReservation{reservation}, PutSchedule{schedule}});
  reservation.set_reservation_id("v-1");
  schedule.set_schedule_id("hourly");
  Put({PutReservation{reservation}, PutSchedule{schedule}});
  Reopen();
  auto state = store().LoadOpenState();
  ASSERT_TRUE(state.ok()) << state.status();
  ASSERT_EQ(state->reservations.size(), 2U);
  EXPECT_EQ(state->reservations[0].reservation_id(), "v-1");
  EXPECT_EQ(state->reservations[1].holder(), "bob");
  ASSERT_EQ(state->schedules.size(), 2U);
  EXPECT_EQ(state->schedules[0].schedule_id(), "hourly");
  EXPECT_TRUE(state->schedules[1].paused());
  Put({DeleteReservation{"v-1"}, DeleteReservation{"v-2"}, DeleteReservation{"v-3"}, DeleteSchedule{"nightly"},
       DeleteSchedule{"hourly"}, DeleteSchedule{"weekly"}});
  state = store().LoadOpenState();
  EXPECT_TRUE(state->reservations.empty());
  EXPECT_TRUE(state->schedules.empty());
}

TEST_P(StoreWriteContractTest, ClosingCarriesOutWhatIsQueued) {
  std::atomic<int> done = 0;
  for (int i = 0; i < 200; ++i) {
    store().Write({PutJob{MakeJob(fmt::format("j-q{}", i))}}, [&](const absl::Status& status) {
      EXPECT_TRUE(status.ok());
      ++done;
    });
  }
  Reopen();
  EXPECT_EQ(done, 200);
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(store().GetJob(fmt::format("j-q{}", i)).ok());
}

TEST_P(StoreWriteContractTest, ReadersSeeWhatWasReportedDoneAndNeverHalfABatch) {
  constexpr int kWriters = 4;
  constexpr int kBatches = 25;
  std::atomic<int> writing = kWriters;
  std::vector<std::jthread> threads;
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([this, w, &writing] {
      for (int i = 0; i < kBatches; ++i) {
        const std::string job = fmt::format("j-w{}x{}", w, i);
        v1::Run run = MakeRun(job + ".1");
        const absl::Status status = store().WriteAndWait(
            {PutJob{MakeJob(job)}, PutRun{run}, MakeChunk(job + ".1", 1, 1), MakeChunk(job + ".1", 1, 2)});
        EXPECT_TRUE(status.ok()) << status.ToString();
        EXPECT_EQ(ChunksOf(job + ".1", 1).size(), 2U);
        EXPECT_EQ((*store().GetRollups(job + ".1", 1))[0].count(), 2U);
      }
      --writing;
    });
  }
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([this, &writing] {
      while (writing > 0) {
        const auto state = store().LoadOpenState();
        ASSERT_TRUE(state.ok()) << state.status().ToString();
        // Each job but j-1 came with its run.
        EXPECT_EQ(state->jobs.size(), state->runs.size() + 1);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(store().LoadOpenState()->jobs.size(), 1U + kWriters * kBatches);
}

}  // namespace
}  // namespace ballast::storage
