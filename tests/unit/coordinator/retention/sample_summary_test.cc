#include "coordinator/retention/sample_summary.h"

#include <gtest/gtest.h>

#include <chrono>

#include "common/base/clock.h"

namespace ballast::retention {
namespace {

using std::chrono::milliseconds;

v1::Event EventAt(milliseconds offset, const std::string& message) {
  v1::Event event;
  *event.mutable_offset() = base::ToProto(offset);
  event.set_kind(v1::Event::CYCLE_COMPLETED);
  event.set_message(message);
  return event;
}

TEST(SampleSummaryTest, MergesWhatTheHeadersSay) {
  metrics::ChunkBuilder builder;
  SampleSummary summary;
  metrics::SampleRow row = metrics::EmptyRow();
  for (int i = 0; i < 6; ++i) {
    row[1] = 10 + i;
    if (i >= 3) row[0] = 100 - i;  // a metric that comes with the second chunk
    builder.AddSample(milliseconds(100 * i), row);
    if (i % 3 == 2) {
      ASSERT_TRUE(summary.Add(static_cast<std::uint64_t>(2 + i / 3), builder.Finish()).ok());
    }
  }
  EXPECT_EQ(summary.chunk_count(), 2);
  const storage::ThinChunks thin = summary.Finish("j-1.1", 3);
  EXPECT_EQ(thin.run_id, "j-1.1");
  EXPECT_EQ(thin.attempt, 3);
  EXPECT_EQ(thin.first_seq, 2);
  EXPECT_EQ(thin.last_seq, 3);
  EXPECT_FALSE(thin.events.has_value());
  EXPECT_EQ(thin.summary.sample_count(), 6);
  EXPECT_EQ(base::FromProto(thin.summary.end_offset()), milliseconds(500));
  ASSERT_EQ(thin.summary.summaries_size(), 2);
  const v1::MetricSummary& late = thin.summary.summaries(0);
  EXPECT_EQ(late.metric_id(), 1);
  EXPECT_EQ(late.count(), 3);
  EXPECT_EQ(late.first(), 97);
  EXPECT_EQ(late.last(), 95);
  const v1::MetricSummary& all = thin.summary.summaries(1);
  EXPECT_EQ(all.count(), 6);
  EXPECT_EQ(all.min(), 10);
  EXPECT_EQ(all.max(), 15);
  EXPECT_EQ(all.first(), 10);
  EXPECT_EQ(all.last(), 15);
  EXPECT_EQ(all.sum(), 75);
  EXPECT_EQ(summary.chunk_count(), 0);
}

TEST(SampleSummaryTest, KeepsEventsWithTheSampleBefore) {
  metrics::ChunkBuilder builder;
  metrics::SampleRow row = metrics::EmptyRow();
  for (int i = 0; i < 10; ++i) {
    row[0] = i;
    builder.AddSample(milliseconds(100 * i), row);
  }
  builder.AddEvent(EventAt(milliseconds(250), "one"));
  builder.AddEvent(EventAt(milliseconds(260), "two"));
  builder.AddEvent(EventAt(milliseconds(900), "three"));
  SampleSummary summary;
  ASSERT_TRUE(summary.Add(1, builder.Finish()).ok());
  const storage::ThinChunks thin = summary.Finish("j-1.1", 1);
  ASSERT_TRUE(thin.events.has_value());
  const auto kept = metrics::DecodeChunk(*thin.events);
  ASSERT_TRUE(kept.ok()) << kept.status().ToString();
  ASSERT_EQ(kept->events.size(), 3);
  EXPECT_EQ(kept->events[2].message(), "three");
  ASSERT_EQ(kept->rows.size(), 2);
  EXPECT_EQ(kept->rows[0][0], 2);
  EXPECT_EQ(kept->rows[1][0], 9);
  EXPECT_EQ(thin.summary.summaries(0).count(), 10);
  EXPECT_EQ(thin.summary.event_count(), 3);
}

TEST(SampleSummaryTest, TakesNothingOfWhatIsDamaged) {
  metrics::ChunkBuilder builder;
  builder.AddSample(milliseconds(0), metrics::EmptyRow());
  v1::Chunk chunk = builder.Finish();
  chunk.mutable_body()->push_back('x');
  SampleSummary summary;
  EXPECT_TRUE(absl::IsDataLoss(summary.Add(1, chunk)));
  EXPECT_EQ(summary.chunk_count(), 0);
}

}  // namespace
}  // namespace ballast::retention
