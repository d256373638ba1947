// What every store promises of thinning and deleting.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "common/metrics/chunk_codec.h"
#include "tests/contract/stores.h"

namespace ballast::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

base::SystemTime At(std::int64_t seconds) {
  return base::SystemTime(std::chrono::seconds(seconds));
}

class StoreRetentionContractTest : public StoreContractTest {
 protected:
  // A run that has ended with so many chunks, each with one value: its seq.
  void PutEnded(const std::string& run_id, std::uint64_t chunks, std::int64_t time = 100) {
    v1::Run run = MakeRun(run_id, time, v1::Run::ENDED);
    run.add_attempts()->set_attempt(1);
    WriteBatch batch{PutRun{run}};
    for (std::uint64_t seq = 1; seq <= chunks; ++seq) {
      batch.emplace_back(MakeChunk(run_id, 1, seq, {static_cast<std::int64_t>(seq)}));
    }
    Put(std::move(batch));
  }

  static ThinChunks Thin(const std::string& run_id, std::uint64_t first, std::uint64_t last, bool events = false) {
    ThinChunks thin{.run_id = run_id, .attempt = 1, .first_seq = first, .last_seq = last, .summary = {}, .events = {}};
    thin.summary.set_sample_count(static_cast<std::uint32_t>(last - first + 1));
    if (events) {
      metrics::ChunkBuilder builder;
      v1::Event event;
      event.set_message("what happened");
      builder.AddEvent(event);
      thin.events = builder.Finish();
    }
    return thin;
  }

  std::vector<std::uint64_t> Read(
      const std::string& run_id,
      absl::Status (Store::*read)(std::string_view, std::uint32_t,
                                  const std::function<absl::Status(std::uint64_t, const v1::Chunk&)>&)) {
    std::vector<std::uint64_t> seqs;
    const absl::Status status = (store().*read)(run_id, 1, [&](std::uint64_t seq, const v1::Chunk&) {
      seqs.push_back(seq);
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status.ToString();
    return seqs;
  }

  std::vector<std::pair<std::uint64_t, std::uint32_t>> Summaries(const std::string& run_id) {
    std::vector<std::pair<std::uint64_t, std::uint32_t>> summaries;
    const absl::Status status = store().ReadSummaries(run_id, 1, [&](std::uint64_t seq, const v1::ChunkHeader& header) {
      summaries.emplace_back(seq, header.sample_count());
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status.ToString();
    return summaries;
  }

  std::uint64_t Counted(const std::string& run_id) {
    const auto rollups = store().GetRollups(run_id, 1);
    EXPECT_TRUE(rollups.ok());
    return rollups->empty() ? 0 : rollups->front().count();
  }

  std::vector<std::string> ToThin(std::int64_t before, const CreationKey& after = {}) {
    const auto runs = store().RunsToThin(after, At(before), 100);
    EXPECT_TRUE(runs.ok()) << runs.status().ToString();
    std::vector<std::string> ids;
    for (const v1::Run& run : *runs) ids.push_back(run.run_id());
    return ids;
  }

  absl::StatusCode Refused(WriteBatch batch) { return store().WriteAndWait(std::move(batch)).code(); }
};

INSTANTIATE_TEST_SUITE_P(Stores, StoreRetentionContractTest, testing::ValuesIn(AllStoreKinds()),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(StoreRetentionContractTest, ASummaryStandsForItsChunks) {
  PutEnded("j-1.1", 6);
  Put({Thin("j-1.1", 1, 3, true), Thin("j-1.1", 4, 4)});
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(Read("j-1.1", &Store::ReadChunks), ElementsAre(1, 5, 6));  // 1: the events of 1 to 3
    EXPECT_THAT(Read("j-1.1", &Store::ReadChunksWithEvents), ElementsAre(1));
    EXPECT_THAT(Read("j-1.1", &Store::ReadWholeChunks), ElementsAre(5, 6));
    EXPECT_THAT(Summaries("j-1.1"), ElementsAre(Pair(3, 3), Pair(4, 1)));
    EXPECT_EQ(store().ChunkPositions("j-1.1", 1).value(), (std::vector<std::uint64_t>{1, 4, 5, 6}));
    EXPECT_EQ(Counted("j-1.1"), 6);
    Reopen();
  }
}

TEST_P(StoreRetentionContractTest, AChunkThatWasThinnedCountsNoSecondTime) {
  PutEnded("j-1.1", 6);
  Put({Thin("j-1.1", 1, 3), Thin("j-1.1", 5, 6)});
  Put({MakeChunk("j-1.1", 1, 1), MakeChunk("j-1.1", 1, 3), MakeChunk("j-1.1", 1, 5), MakeChunk("j-1.1", 1, 6)});
  EXPECT_EQ(Counted("j-1.1"), 6);
  EXPECT_THAT(Read("j-1.1", &Store::ReadChunks), ElementsAre(4));
  Put({MakeChunk("j-1.1", 1, 7), MakeChunk("j-1.1", 2, 1)});  // these are new
  EXPECT_EQ(Counted("j-1.1"), 7);
  EXPECT_THAT(Read("j-1.1", &Store::ReadChunks), ElementsAre(4, 7));
}

TEST_P(StoreRetentionContractTest, OnlyWhatIsThereAndHasEndedIsThinned) {
  PutEnded("j-1.1", 3);
  EXPECT_EQ(Refused({Thin("j-1.1", 2, 4)}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Refused({Thin("j-9.1", 1, 1)}), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Read("j-1.1", &Store::ReadWholeChunks), ElementsAre(1, 2, 3));
  Put({PutRun{MakeRun("j-1.2", 100, v1::Run::RUNNING)}, MakeChunk("j-1.2", 1, 1)});
  EXPECT_EQ(Refused({Thin("j-1.2", 1, 1)}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Refused({DeleteChunks{"j-1.2", 1, 1, 1}}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Refused({DeleteRun{"j-1.2"}}), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Read("j-1.2", &Store::ReadWholeChunks), ElementsAre(1));
}

TEST_P(StoreRetentionContractTest, ARunSaysSinceWhenItIsThinned) {
  PutEnded("j-1.1", 1);
  const v1::Run before = store().GetRun("j-1.1").value();
  EXPECT_THAT(ToThin(101), ElementsAre("j-1.1"));
  Put({MarkThinned{"j-1.1", At(500), false}});
  EXPECT_EQ(store().GetRun("j-1.1").value().samples_thinned_time().seconds(), 500);
  EXPECT_THAT(ToThin(101), ElementsAre("j-1.1")) << "it is not done";
  Put({MarkThinned{"j-1.1", At(600), true}});
  EXPECT_EQ(store().GetRun("j-1.1").value().samples_thinned_time().seconds(), 500) << "the first time stays";
  EXPECT_THAT(ToThin(101), IsEmpty());
  Put({PutRun{before}});  // by somebody who read it before
  EXPECT_EQ(store().GetRun("j-1.1").value().samples_thinned_time().seconds(), 500);
  EXPECT_THAT(ToThin(101), IsEmpty());
  Put({MakeChunk("j-1.1", 1, 9)});
  EXPECT_THAT(ToThin(101), ElementsAre("j-1.1")) << "it has whole samples again";
}

TEST_P(StoreRetentionContractTest, WhatIsToBeThinnedComesInOrderOfCreation) {
  PutEnded("j-1.3", 0, 100);
  PutEnded("j-1.1", 0, 200);
  PutEnded("j-1.2", 0, 200);
  PutEnded("j-1.4", 0, 300);
  EXPECT_THAT(ToThin(300), ElementsAre("j-1.3", "j-1.1", "j-1.2"));
  EXPECT_THAT(ToThin(300, {At(200), "j-1.1"}), ElementsAre("j-1.2"));
  const auto first = store().RunsToThin({}, At(300), 1);
  ASSERT_EQ(first.value().size(), 1);
  EXPECT_EQ(first->front().run_id(), "j-1.3");
}

TEST_P(StoreRetentionContractTest, ADeletedRunLeavesNothing) {
  v1::Run run = MakeRun("j-1.1", 100, v1::Run::ENDED);
  (*run.mutable_annotations())["build"] = "1";
  Put({PutRun{run}, MakeChunk("j-1.1", 1, 1), MakeChunk("j-1.1", 1, 2), MakeChunk("j-1.1", 2, 1)});
  Put({Thin("j-1.1", 1, 1, true)});
  Put({DeleteChunks{"j-1.1", 1, 1, 2}});
  EXPECT_THAT(store().ChunkPositions("j-1.1", 1).value(), IsEmpty());
  EXPECT_EQ(store().ChunkPositions("j-1.1", 2).value().size(), 1);
  Put({DeleteRun{"j-1.1"}});
  EXPECT_TRUE(absl::IsNotFound(store().GetRun("j-1.1").status()));
  EXPECT_THAT(store().ChunkPositions("j-1.1", 2).value(), IsEmpty());
  EXPECT_EQ(Counted("j-1.1"), 0);
  v1::ListRunsRequest request;
  (*request.mutable_filter()->mutable_annotations())["build"] = "1";
  EXPECT_EQ(store().ListRuns(request).value().runs_size(), 0);
  Put({DeleteRun{"j-1.1"}});  // harmless
}

TEST_P(StoreRetentionContractTest, AJobIsDeletedOnceItHasEndedAndHasNoRuns) {
  v1::Job job = MakeJob("j-2", 200, v1::Job::FINISHED);
  job.set_request_id("again");
  Put({PutJob{job}, PutRun{MakeRun("j-2.1", 200, v1::Run::ENDED)}});
  EXPECT_EQ(Refused({DeleteJob{"j-1"}}), absl::StatusCode::kFailedPrecondition) << "it has not ended";
  EXPECT_EQ(Refused({DeleteJob{"j-2"}}), absl::StatusCode::kFailedPrecondition) << "it has a run";
  Put({DeleteRun{"j-2.1"}, DeleteJob{"j-2"}});
  EXPECT_TRUE(absl::IsNotFound(store().GetJob("j-2").status()));
  EXPECT_TRUE(absl::IsNotFound(store().FindJobByRequestId("again").status()));
  Put({DeleteJob{"j-2"}});  // harmless
}

TEST_P(StoreRetentionContractTest, JobsAreListedInOrderOfCreation) {
  Put({PutJob{MakeJob("j-3", 300)}, PutJob{MakeJob("j-2", 300)}, PutJob{MakeJob("j-4", 400)}});
  const auto jobs = store().JobsCreatedBefore({At(100), "j-1"}, At(400), 10);
  ASSERT_EQ(jobs.value().size(), 2);
  EXPECT_EQ(jobs->front().job_id(), "j-2");
  EXPECT_EQ(jobs->back().job_id(), "j-3");
}

TEST_P(StoreRetentionContractTest, SpaceOfDeletionsGoesBack) {
  v1::Run run = MakeRun("j-1.1", 100, v1::Run::ENDED);
  PutChunk large = MakeChunk("j-1.1", 1, 1);
  large.chunk.set_body(std::string(4U << 20U, 'x'));
  Put({PutRun{run}, large});
  const SpaceUse full = store().GetSpaceUse().value();
  EXPECT_TRUE(full.can_release);
  Put({DeleteRun{"j-1.1"}});
  const SpaceUse freed = store().GetSpaceUse().value();
  EXPECT_GE(freed.free_bytes, 4U << 20U);
  Put({ReleaseSpace{.max_bytes = 1U << 20U}});
  const SpaceUse partly = store().GetSpaceUse().value();
  EXPECT_LE(partly.total_bytes, freed.total_bytes - (1U << 20U));
  EXPECT_GT(partly.free_bytes, 2U << 20U);
  Put({ReleaseSpace{.max_bytes = 64U << 20U}});
  EXPECT_EQ(store().GetSpaceUse().value().free_bytes, 0);
}

}  // namespace
}  // namespace ballast::storage
