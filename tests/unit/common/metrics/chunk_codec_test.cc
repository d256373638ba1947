#include "common/metrics/chunk_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <functional>
#include <limits>
#include <random>
#include <string>

namespace ballast::metrics {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min() + 1;  // the least that is not kAbsent
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

v1::Event MakeEvent(std::int64_t seconds, const std::string& message) {
  v1::Event event;
  event.mutable_offset()->set_seconds(seconds);
  event.set_kind(v1::Event::STEP_REACHED);
  event.set_message(message);
  event.set_value(42.5);
  return event;
}

SampleRow RowWith(MetricId id, std::int64_t value) {
  SampleRow row = EmptyRow();
  row[IndexOf(id)] = value;
  return row;
}

// A chunk around a body that was made by hand, with everything in its header that belongs to those bytes.
v1::Chunk Wrap(const std::string& serialised, std::uint32_t samples, std::uint32_t events = 0) {
  v1::Chunk chunk;
  v1::ChunkHeader* const header = chunk.mutable_header();
  header->mutable_start_offset();
  header->mutable_end_offset();
  header->set_sample_count(samples);
  header->set_event_count(events);
  header->set_compression(v1::ChunkHeader::NONE);
  header->set_uncompressed_size_bytes(static_cast<std::uint32_t>(serialised.size()));
  header->set_body_crc32c(Crc32c(serialised));
  chunk.set_body(serialised);
  return chunk;
}

v1::ChunkBody OneColumn(std::initializer_list<std::int64_t> deltas) {
  v1::ChunkBody body;
  v1::ChunkColumn* const column = body.add_columns();
  column->set_metric_id(1);
  for (const std::int64_t delta : deltas) {
    body.add_offset_us_deltas(100);
    column->add_deltas(delta);
  }
  return body;
}

std::string Refusal(const v1::Chunk& chunk) {
  const auto decoded = DecodeChunk(chunk);
  EXPECT_EQ(decoded.status().code(), absl::StatusCode::kDataLoss) << decoded.status().ToString();
  return std::string(decoded.status().message());
}

TEST(ChunkCodecTest, SamplesAndEventsComeBackAsTheyWere) {
  std::mt19937_64 random(1);
  ChunkBuilder builder;
  std::vector<SampleRow> rows(50);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t m = 0; m < kMetricCount; ++m) {
      rows[i][m] = random() % 5 == 0 ? kAbsent : static_cast<std::int64_t>(random() >> (m % 60));
    }
    builder.AddSample(milliseconds(100) * i, rows[i]);
  }
  builder.AddEvent(MakeEvent(1, "step 1"));
  builder.AddEvent(MakeEvent(3, "step 2"));
  const v1::Chunk chunk = builder.Finish();
  EXPECT_TRUE(builder.empty());

  const auto decoded = DecodeChunk(chunk);
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->rows, rows);
  ASSERT_EQ(decoded->offsets.size(), 50U);
  EXPECT_EQ(decoded->offsets[49], milliseconds(4900));
  ASSERT_EQ(decoded->events.size(), 2U);
  EXPECT_EQ(decoded->events[1].message(), "step 2");
  EXPECT_EQ(decoded->events[1].value(), 42.5);
}

TEST(ChunkCodecTest, ExtremesAndAbsentValuesSurvive) {
  constexpr MetricId kId = MetricId::kMemAvailableBytes;
  ChunkBuilder builder;
  const std::vector<std::int64_t> values = {kMax, kMin, kAbsent, kMax, 0, kMin, kAbsent};
  for (const std::int64_t value : values) builder.AddSample(milliseconds(5), RowWith(kId, value));
  const v1::Chunk chunk = builder.Finish();

  const auto decoded = DecodeChunk(chunk);
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(decoded->rows[i], RowWith(kId, values[i])) << i;

  ASSERT_EQ(chunk.header().summaries_size(), 1);
  const v1::MetricSummary& summary = chunk.header().summaries(0);
  EXPECT_EQ(summary.metric_id(), static_cast<std::uint32_t>(kId));
  EXPECT_EQ(summary.count(), 5U);
  EXPECT_EQ(summary.min(), kMin);
  EXPECT_EQ(summary.max(), kMax);
  EXPECT_EQ(summary.first(), kMax);
  EXPECT_EQ(summary.last(), kMin);
  EXPECT_EQ(summary.sum(), 0.0);
}

TEST(ChunkCodecTest, HeaderTellsTimesAndCounts) {
  ChunkBuilder builder;
  builder.AddEvent(MakeEvent(1, "early"));
  builder.AddSample(milliseconds(1500), RowWith(MetricId::kMemFreeBytes, 10));
  builder.AddSample(microseconds(2'500'007), RowWith(MetricId::kMemFreeBytes, 30));
  const v1::ChunkHeader header = builder.Finish().header();
  EXPECT_EQ(header.start_offset().seconds(), 1);
  EXPECT_EQ(header.start_offset().nanos(), 0);
  EXPECT_EQ(header.end_offset().seconds(), 2);
  EXPECT_EQ(header.end_offset().nanos(), 500'007'000);
  EXPECT_EQ(header.sample_count(), 2U);
  EXPECT_EQ(header.event_count(), 1U);
  ASSERT_EQ(header.summaries_size(), 1);
  EXPECT_EQ(header.summaries(0).sum(), 40.0);
}

TEST(ChunkCodecTest, EventsAloneMakeAChunk) {
  ChunkBuilder builder;
  builder.AddEvent(MakeEvent(7, "alone"));
  EXPECT_FALSE(builder.empty());
  const auto decoded = DecodeChunk(builder.Finish());
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_THAT(decoded->rows, IsEmpty());
  ASSERT_EQ(decoded->events.size(), 1U);
  EXPECT_EQ(decoded->events[0].offset().seconds(), 7);
}

TEST(ChunkCodecTest, SamplesOutOfOrderAreMovedForward) {
  ChunkBuilder builder;
  builder.AddSample(milliseconds(-3), EmptyRow());
  builder.AddSample(milliseconds(20), EmptyRow());
  builder.AddSample(milliseconds(10), EmptyRow());
  const auto decoded = DecodeChunk(builder.Finish());
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_THAT(decoded->offsets, ElementsAre(milliseconds(0), milliseconds(20), milliseconds(20)));
}

TEST(ChunkCodecTest, ABuilderKeptFromOverflowingMakesReadableChunks) {
  std::mt19937_64 random(2);
  ChunkBuilder builder;
  while (!builder.full()) {
    SampleRow row;
    for (std::int64_t& value : row) value = static_cast<std::int64_t>(random());
    builder.AddSample(milliseconds(1) * builder.sample_count(), row);
  }
  EXPECT_EQ(builder.sample_count(), kMaxChunkSamples);
  EXPECT_TRUE(DecodeChunk(builder.Finish()).ok());

  std::size_t events = 0;
  for (; !builder.full(); ++events) builder.AddEvent(MakeEvent(1, std::string(100'000, 'x')));
  EXPECT_GT(events, 200U);
  EXPECT_TRUE(DecodeChunk(builder.Finish()).ok());
}

TEST(ChunkCodecTest, LongMessagesAreCutBetweenCharacters) {
  std::string message = "x";
  while (message.size() < 6000) message += "限";
  ChunkBuilder builder;
  builder.AddEvent(MakeEvent(1, message));
  const auto decoded = DecodeChunk(builder.Finish());
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->events[0].message(), message.substr(0, 4096));
}

TEST(ChunkCodecTest, MessagesThatAreNotTextBecomeText) {
  ChunkBuilder builder;
  builder.AddEvent(MakeEvent(1,
                             "a\xff"
                             "b\xc3\xa9\xed\xa0\x80 限𝄞\xe9\x99"));
  builder.AddEvent(MakeEvent(1, "\xc0\x80\xf4\x90\x80\x80\xf0\x8f\xbf\xbf"));
  const auto decoded = DecodeChunk(builder.Finish());
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->events[0].message(), "a?b\xc3\xa9??? 限𝄞??");
  EXPECT_EQ(decoded->events[1].message(), "??????????");
}

TEST(ChunkCodecTest, MetricsOfALaterVersionAreLeftOut) {
  v1::ChunkBody body = OneColumn({5, 1});
  v1::ChunkColumn* const later = body.add_columns();
  later->set_metric_id(kMetricCount + 7);
  later->add_deltas(1);
  later->add_deltas(1);
  const auto decoded = DecodeChunk(Wrap(body.SerializeAsString(), 2));
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->rows[0][0], 5);
  EXPECT_EQ(decoded->rows[1][0], 6);
  EXPECT_EQ(decoded->rows[1][1], kAbsent);
}

// What a header can claim, each with a word of the reason for its refusal.
struct HeaderDamage {
  std::string name;
  std::function<void(v1::Chunk*)> apply;
  std::string reason;
};

class DamagedHeaderTest : public testing::TestWithParam<HeaderDamage> {};

TEST_P(DamagedHeaderTest, IsRefused) {
  ChunkBuilder builder;
  for (int i = 0; i < 20; ++i) {
    SampleRow row;
    row.fill(i);
    builder.AddSample(milliseconds(i), row);
  }
  v1::Chunk chunk = builder.Finish();
  ASSERT_TRUE(ValidateChunk(chunk).ok());
  GetParam().apply(&chunk);
  EXPECT_THAT(Refusal(chunk), HasSubstr(GetParam().reason));
  EXPECT_EQ(ValidateChunk(chunk).code(), absl::StatusCode::kDataLoss);
}

INSTANTIATE_TEST_SUITE_P(
    Headers, DamagedHeaderTest,
    testing::Values(
        HeaderDamage{"Missing", [](v1::Chunk* c) { c->clear_header(); }, "no header"},
        HeaderDamage{"NoStart", [](v1::Chunk* c) { c->mutable_header()->clear_start_offset(); }, "time range"},
        HeaderDamage{"StartPastEnd", [](v1::Chunk* c) { c->mutable_header()->mutable_start_offset()->set_seconds(9); },
                     "time range"},
        HeaderDamage{"HugeEnd", [](v1::Chunk* c) { c->mutable_header()->mutable_end_offset()->set_seconds(kMax); },
                     "time range"},
        HeaderDamage{"NanosBelowZero", [](v1::Chunk* c) { c->mutable_header()->mutable_end_offset()->set_nanos(-1); },
                     "time range"},
        HeaderDamage{
            "UnknownCompression",
            [](v1::Chunk* c) { c->mutable_header()->set_compression(static_cast<v1::ChunkHeader::Compression>(77)); },
            "unknown compression 77"},
        HeaderDamage{"HugeSize", [](v1::Chunk* c) { c->mutable_header()->set_uncompressed_size_bytes(UINT32_MAX); },
                     "at most"},
        HeaderDamage{"HugeBody", [](v1::Chunk* c) { c->mutable_body()->resize(kMaxChunkBytes + 1); }, "at most"},
        HeaderDamage{"ManySamples", [](v1::Chunk* c) { c->mutable_header()->set_sample_count(kMaxChunkSamples + 1); },
                     "4097 samples"},
        HeaderDamage{"ManyEvents", [](v1::Chunk* c) { c->mutable_header()->set_event_count(UINT32_MAX); }, "events"},
        HeaderDamage{"Empty", [](v1::Chunk* c) { c->mutable_header()->set_sample_count(0); }, "neither"},
        HeaderDamage{"WrongCrc", [](v1::Chunk* c) { c->mutable_header()->set_body_crc32c(1); }, "CRC32C"},
        HeaderDamage{"CutBody", [](v1::Chunk* c) { c->mutable_body()->pop_back(); }, "CRC32C"},
        HeaderDamage{"SummaryOfMetricZero",
                     [](v1::Chunk* c) { c->mutable_header()->mutable_summaries(0)->set_metric_id(0); }, "metric 0"},
        HeaderDamage{"SummariesOutOfOrder",
                     [](v1::Chunk* c) { c->mutable_header()->mutable_summaries(1)->set_metric_id(9); }, "after"},
        HeaderDamage{"CountAboveSamples",
                     [](v1::Chunk* c) { c->mutable_header()->mutable_summaries(0)->set_count(21); }, "counts 21 of 20"},
        HeaderDamage{"MinAboveLast", [](v1::Chunk* c) { c->mutable_header()->mutable_summaries(0)->set_min(20); },
                     "contradicts"},
        HeaderDamage{"SumNotANumber",
                     [](v1::Chunk* c) {
                       c->mutable_header()->mutable_summaries(0)->set_sum(std::numeric_limits<double>::quiet_NaN());
                     },
                     "contradicts"},
        HeaderDamage{"EndlessSummaries",
                     [](v1::Chunk* c) {
                       for (std::uint32_t id = 1000; id < 3000; ++id) {
                         c->mutable_header()->add_summaries()->set_metric_id(id);
                       }
                     },
                     "metrics"}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(DamagedBodyTest, AColumnOfAnotherLengthIsRefused) {
  v1::ChunkBody body = OneColumn({1, 2, 3});
  body.mutable_columns(0)->add_deltas(4);
  EXPECT_THAT(Refusal(Wrap(body.SerializeAsString(), 3)), HasSubstr("4 values for 3 samples"));
}

TEST(DamagedBodyTest, ColumnsMustBeInOrder) {
  v1::ChunkBody body = OneColumn({1});
  *body.add_columns() = body.columns(0);
  EXPECT_THAT(Refusal(Wrap(body.SerializeAsString(), 1)), HasSubstr("in order of their metrics"));
}

TEST(DamagedBodyTest, OffsetsMustBeAsManyAsSaid) {
  EXPECT_THAT(Refusal(Wrap(OneColumn({1, 2, 3}).SerializeAsString(), 2)), HasSubstr("3 offsets for 2 samples"));
}

TEST(DamagedBodyTest, TimeMayNotRunBackNorOverflow) {
  for (const std::int64_t delta : {std::int64_t{-1}, kMax}) {
    v1::ChunkBody body = OneColumn({1, 2, 3});
    body.set_offset_us_deltas(1, delta);
    EXPECT_THAT(Refusal(Wrap(body.SerializeAsString(), 3)), HasSubstr("order of time"));
  }
}

TEST(DamagedBodyTest, AbsentPositionsMustExist) {
  for (const std::vector<std::uint32_t>& positions :
       {std::vector<std::uint32_t>{3}, {UINT32_MAX}, {1, 1}, {2, 0}, {0, 1, 2, 3}}) {
    v1::ChunkBody body = OneColumn({1, 2, 3});
    for (const std::uint32_t position : positions) body.mutable_columns(0)->add_absent_positions(position);
    EXPECT_THAT(Refusal(Wrap(body.SerializeAsString(), 3)), HasSubstr("impossible positions"));
  }
}

TEST(DamagedBodyTest, AShiftOfAllBitsIsRefused) {
  v1::ChunkBody body = OneColumn({1});
  body.mutable_columns(0)->set_delta_shift(64);
  EXPECT_THAT(Refusal(Wrap(body.SerializeAsString(), 1)), HasSubstr("shifted by 64"));
}

TEST(DamagedBodyTest, ValuesThatOverflowWrapAround) {
  v1::ChunkBody body = OneColumn({kMax, kMax, kMin});
  body.mutable_columns(0)->set_delta_shift(63);
  EXPECT_TRUE(DecodeChunk(Wrap(body.SerializeAsString(), 3)).ok());
}

TEST(DamagedBodyTest, BytesThatAreNoMessageAreRefused) {
  for (const std::string& bytes : {std::string("\xff\xff\xff"), std::string("\x0a\x7f"), std::string("\x0b\x0c"),
                                   std::string("\x08"), std::string("\x12\xff\xff\xff\xff\x0f")}) {
    EXPECT_EQ(DecodeChunk(Wrap(bytes, 1)).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(DamagedBodyTest, MessagesWithoutEndAreCountedBeforeTheyAreParsed) {
  std::string columns;
  for (int i = 0; i < 1'000'000; ++i) columns += std::string("\x12\x00", 2);
  EXPECT_THAT(Refusal(Wrap(columns, 1)), HasSubstr("1000000 columns"));
  std::string events;
  for (int i = 0; i < 1'000'000; ++i) events += std::string("\x1a\x00", 2);
  EXPECT_THAT(Refusal(Wrap(events, 1, 3)), HasSubstr("1000000 events instead of 3"));
}

TEST(DamagedBodyTest, AFrameThatSwellsBeyondItsWordIsRefused) {
  const std::string zeros(64U << 20U, '\0');
  std::string frame(ZSTD_compressBound(zeros.size()), '\0');
  frame.resize(ZSTD_compress(frame.data(), frame.size(), zeros.data(), zeros.size(), 3));
  v1::Chunk chunk = Wrap(frame, 1);
  chunk.mutable_header()->set_compression(v1::ChunkHeader::ZSTD);
  chunk.mutable_header()->set_uncompressed_size_bytes(1000);
  EXPECT_THAT(Refusal(chunk), HasSubstr("not one zstd frame"));
}

TEST(DamagedBodyTest, TwoFramesAreRefused) {
  const std::string body = OneColumn({1}).SerializeAsString();
  std::string frame(ZSTD_compressBound(body.size()), '\0');
  frame.resize(ZSTD_compress(frame.data(), frame.size(), body.data(), body.size(), 3));
  v1::Chunk chunk = Wrap(frame + frame, 1);
  chunk.mutable_header()->set_compression(v1::ChunkHeader::ZSTD);
  chunk.mutable_header()->set_uncompressed_size_bytes(static_cast<std::uint32_t>(body.size()));
  EXPECT_THAT(Refusal(chunk), HasSubstr("not one zstd frame"));
}

// Random damage with a right CRC, so that it reaches the decoder: it may be accepted or refused, but nothing else.
TEST(DamagedBodyTest, RandomDamageIsSurvived) {
  std::mt19937 random(20);
  ChunkBuilder builder;
  for (int i = 0; i < 30; ++i) {
    SampleRow row;
    for (std::int64_t& value : row) value = random() % 4 == 0 ? kAbsent : static_cast<std::int64_t>(random());
    builder.AddSample(milliseconds(i), row);
  }
  builder.AddEvent(MakeEvent(1, "event"));
  const v1::Chunk good = builder.Finish();
  const auto decoded = DecodeChunk(good);
  ASSERT_TRUE(decoded.ok());
  std::string body(good.header().uncompressed_size_bytes(), '\0');
  ASSERT_EQ(ZSTD_decompress(body.data(), body.size(), good.body().data(), good.body().size()), body.size());

  int refused = 0;
  for (int round = 0; round < 4000; ++round) {
    const bool compressed = round % 2 == 0;
    v1::Chunk chunk = good;
    std::string bytes = compressed ? good.body() : body;
    for (std::uint32_t i = 0; i < 1 + random() % 4; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    chunk.mutable_header()->set_body_crc32c(Crc32c(bytes));
    if (!compressed) {
      chunk.mutable_header()->set_compression(v1::ChunkHeader::NONE);
      chunk.mutable_header()->set_uncompressed_size_bytes(static_cast<std::uint32_t>(bytes.size()));
    }
    chunk.set_body(bytes);
    const auto result = DecodeChunk(chunk);
    if (result.ok()) {
      EXPECT_EQ(result->rows.size(), decoded->rows.size());
    } else {
      EXPECT_EQ(result.status().code(), absl::StatusCode::kDataLoss);
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

v1::MetricSummary Summary(std::uint64_t count, std::int64_t min, std::int64_t max, std::int64_t first,
                          std::int64_t last, double sum) {
  v1::MetricSummary summary;
  summary.set_metric_id(3);
  summary.set_count(count);
  summary.set_min(min);
  summary.set_max(max);
  summary.set_first(first);
  summary.set_last(last);
  summary.set_sum(sum);
  return summary;
}

TEST(MergeSummaryTest, LaterSamplesFollowEarlierOnes) {
  v1::MetricSummary into = Summary(2, 5, 9, 5, 9, 14);
  MergeSummary(Summary(3, -1, 7, 7, 0, 6), &into);
  EXPECT_EQ(into.SerializeAsString(), Summary(5, -1, 9, 5, 0, 20).SerializeAsString());
}

TEST(MergeSummaryTest, AnEmptySideLeavesTheOther) {
  const v1::MetricSummary one = Summary(2, 5, 9, 5, 9, 14);
  v1::MetricSummary into = one;
  MergeSummary(v1::MetricSummary(), &into);
  EXPECT_EQ(into.SerializeAsString(), one.SerializeAsString());
  v1::MetricSummary empty;
  MergeSummary(one, &empty);
  EXPECT_EQ(empty.SerializeAsString(), one.SerializeAsString());
}

}  // namespace
}  // namespace ballast::metrics
