#include "common/metrics/chunk_codec.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>
#include <utility>

#include "common/base/status.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace ballast::metrics {
namespace {

// Level 3 is where zstd stops being limited by its own speed: lower ones save no time worth having on some kilobytes.
constexpr int kCompressionLevel = 3;
constexpr std::size_t kMaxEventMessageBytes = 4096;

// Whatever the values, a builder that was emptied when full makes chunks that every reader accepts: ten bytes are the
// most that a varint takes, and 64 KiB are plenty for the frames around columns and events.
static_assert(kMaxChunkSamples * (kMetricCount + 1) * 10 + kMaxChunkEventBytes + (64U << 10U) <= kMaxChunkBytes);

// Differences wrap around: with unsigned arithmetic any two int64 values have one, and adding it gives the value back.
std::int64_t Difference(std::int64_t value, std::int64_t before) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(value) - static_cast<std::uint64_t>(before));
}

std::int64_t Sum(std::int64_t before, std::int64_t difference) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(before) + static_cast<std::uint64_t>(difference));
}

constexpr std::int64_t kMicrosPerSecond = 1'000'000;

google::protobuf::Duration FromMicros(std::int64_t us) {
  google::protobuf::Duration duration;
  duration.set_seconds(us / kMicrosPerSecond);
  duration.set_nanos(static_cast<std::int32_t>(us % kMicrosPerSecond * 1000));
  return duration;
}

// Whether the fields are a duration as protobuf defines it, and not negative. The bound is protobuf's own (10,000
// years).
bool IsOffset(const google::protobuf::Duration& duration) {
  return duration.seconds() >= 0 && duration.seconds() <= 315'576'000'000 && duration.nanos() >= 0 &&
         duration.nanos() < 1'000'000'000;
}

// Rounds down, as samples are: an event never seems to be later than a sample taken after it.
std::int64_t ToMicros(const google::protobuf::Duration& duration) {
  return duration.seconds() * kMicrosPerSecond + duration.nanos() / 1000;
}

bool LessOffset(const google::protobuf::Duration& a, const google::protobuf::Duration& b) {
  return std::pair(a.seconds(), a.nanos()) < std::pair(b.seconds(), b.nanos());
}

// The length of the UTF-8 character at the beginning of `text`; zero where there is none.
std::size_t CharacterLength(std::string_view text) {
  const auto byte = [text](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xc2 && first < 0xe0   ? 2
                             : first >= 0xe0 && first < 0xf0 ? 3
                             : first >= 0xf0 && first < 0xf5 ? 4
                                                             : 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80U) return 0;
  }
  // Overlong forms, surrogates, and what lies above the last character.
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0)) return 0;
  if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) >= 0x90)) return 0;
  return length;
}

// One message that is not UTF-8 (a process may be called anything) would make protobuf refuse the whole chunk.
void MakeUtf8(std::string* text) {
  for (std::size_t i = 0; i < text->size();) {
    const std::size_t length = CharacterLength(std::string_view(*text).substr(i));
    if (length == 0) (*text)[i] = '?';
    i += std::max<std::size_t>(length, 1);
  }
}

// Cuts to a length, and not within a character.
void CutText(std::string* text, std::size_t max_bytes) {
  if (text->size() <= max_bytes) return;
  std::size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>((*text)[end]) & 0xc0U) == 0x80U) --end;
  text->resize(end);
}

absl::Status Damaged(std::string_view reason) {
  return absl::DataLossError(fmt::format("chunk of telemetry: {}", reason));
}

absl::Status ValidateSummaries(const v1::ChunkHeader& header) {
  if (header.summaries_size() > static_cast<int>(kMaxChunkMetrics)) {
    return Damaged(fmt::format("{} metrics, at most {} are allowed", header.summaries_size(), kMaxChunkMetrics));
  }
  std::uint32_t last_id = 0;
  for (const v1::MetricSummary& summary : header.summaries()) {
    const std::uint32_t id = summary.metric_id();
    if (id <= last_id) return Damaged(fmt::format("summary of metric {} after that of metric {}", id, last_id));
    last_id = id;
    if (summary.count() < 1 || summary.count() > header.sample_count()) {
      return Damaged(fmt::format("metric {} counts {} of {} samples", id, summary.count(), header.sample_count()));
    }
    const bool ordered = summary.min() <= summary.first() && summary.first() <= summary.max() &&
                         summary.min() <= summary.last() && summary.last() <= summary.max();
    if (!ordered || !std::isfinite(summary.sum())) {
      return Damaged(fmt::format("the summary of metric {} contradicts itself", id));
    }
  }
  return absl::OkStatus();
}

struct FreeDecompressor {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

absl::StatusOr<std::string> Decompress(const v1::Chunk& chunk) {
  const std::string& body = chunk.body();
  const std::size_t size = chunk.header().uncompressed_size_bytes();
  if (chunk.header().compression() == v1::ChunkHeader::NONE) {
    if (body.size() != size) return Damaged(fmt::format("{} bytes of body instead of {}", body.size(), size));
    return body;
  }
  // Both sizes are compared before anything is allocated: the frame's own word and the header's must agree.
  if (ZSTD_getFrameContentSize(body.data(), body.size()) != size ||
      ZSTD_findFrameCompressedSize(body.data(), body.size()) != body.size()) {
    return Damaged(fmt::format("the body is not one zstd frame of {} bytes", size));
  }
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeDecompressor> context(ZSTD_createDCtx());
  if (context == nullptr) return absl::ResourceExhaustedError("chunk of telemetry: no memory to decompress it");
  std::string out(size, '\0');
  const std::size_t got = ZSTD_decompressDCtx(context.get(), out.data(), out.size(), body.data(), body.size());
  if (ZSTD_isError(got) != 0U) return Damaged(fmt::format("the body does not decompress: {}", ZSTD_getErrorName(got)));
  if (got != size) return Damaged(fmt::format("the body decompresses to {} bytes instead of {}", got, size));
  return out;
}

// Looks over the outermost fields of a serialised ChunkBody. Parsing makes an object of some hundred bytes of every
// embedded message, even of an empty one of two bytes: so they are counted first.
absl::Status CheckCounts(const v1::ChunkHeader& header, const std::string& serialised) {
  google::protobuf::io::ArrayInputStream stream(serialised.data(), static_cast<int>(serialised.size()));
  google::protobuf::io::CodedInputStream input(&stream);
  std::size_t columns = 0;
  std::size_t events = 0;
  while (const std::uint32_t tag = input.ReadTag()) {
    constexpr std::uint32_t kLengthDelimited = 2;
    if (tag == (v1::ChunkBody::kColumnsFieldNumber << 3U | kLengthDelimited)) ++columns;
    if (tag == (v1::ChunkBody::kEventsFieldNumber << 3U | kLengthDelimited)) ++events;
    // Fields that a later version may add, and offsets, are packed or single: anything of another kind is skipped.
    std::uint64_t ignored = 0;
    std::uint32_t length = 0;
    switch (tag & 7U) {
      case 0:
        if (!input.ReadVarint64(&ignored)) return Damaged("the body is cut off");
        break;
      case 1:
        if (!input.Skip(8)) return Damaged("the body is cut off");
        break;
      case kLengthDelimited:
        if (!input.ReadVarint32(&length) || length > serialised.size() || !input.Skip(static_cast<int>(length))) {
          return Damaged("the body is cut off");
        }
        break;
      case 5:
        if (!input.Skip(4)) return Damaged("the body is cut off");
        break;
      default:
        return Damaged("the body is not a message");
    }
  }
  if (columns > kMaxChunkMetrics) return Damaged(fmt::format("{} columns", columns));
  if (events != header.event_count()) {
    return Damaged(fmt::format("{} events instead of {}", events, header.event_count()));
  }
  return absl::OkStatus();
}

absl::Status DecodeOffsets(const v1::ChunkBody& body, std::vector<std::chrono::microseconds>* offsets) {
  std::int64_t offset = 0;
  for (const std::int64_t delta : body.offset_us_deltas()) {
    if (delta < 0 || __builtin_add_overflow(offset, delta, &offset)) return Damaged("samples are not in order of time");
    offsets->emplace_back(offset);
  }
  return absl::OkStatus();
}

absl::Status DecodeColumn(const v1::ChunkColumn& column, std::vector<SampleRow>* rows) {
  const std::uint32_t id = column.metric_id();
  if (static_cast<std::size_t>(column.deltas_size()) != rows->size()) {
    return Damaged(fmt::format("metric {} has {} values for {} samples", id, column.deltas_size(), rows->size()));
  }
  if (column.delta_shift() >= 64) return Damaged(fmt::format("metric {} is shifted by {}", id, column.delta_shift()));
  const Metric* const metric = FindMetric(id);
  std::int64_t value = 0;
  int next_absent = 0;
  for (int i = 0; i < column.deltas_size(); ++i) {
    const bool absent = next_absent < column.absent_positions_size() &&
                        column.absent_positions(next_absent) == static_cast<std::uint32_t>(i);
    if (absent) {
      ++next_absent;
      continue;
    }
    value = Sum(value, column.deltas(i) << column.delta_shift());
    if (metric != nullptr) (*rows)[static_cast<std::size_t>(i)][id - 1] = value;
  }
  // Positions that are out of order, doubled or past the end are never reached.
  if (next_absent != column.absent_positions_size()) {
    return Damaged(fmt::format("metric {} has absent values at impossible positions", id));
  }
  return absl::OkStatus();
}

}  // namespace

void ChunkBuilder::FreeContext::operator()(ZSTD_CCtx_s* context) const {
  ZSTD_freeCCtx(context);
}

ChunkBuilder::ChunkBuilder() = default;
ChunkBuilder::~ChunkBuilder() = default;
ChunkBuilder::ChunkBuilder(ChunkBuilder&&) noexcept = default;
ChunkBuilder& ChunkBuilder::operator=(ChunkBuilder&&) noexcept = default;

void ChunkBuilder::AddSample(std::chrono::nanoseconds offset, const SampleRow& row) {
  const std::int64_t earliest = offsets_us_.empty() ? 0 : offsets_us_.back();
  offsets_us_.push_back(std::max(earliest, std::chrono::floor<std::chrono::microseconds>(offset).count()));
  rows_.push_back(row);
}

void ChunkBuilder::AddEvent(const v1::Event& event) {
  events_.push_back(event);
  CutText(events_.back().mutable_message(), kMaxEventMessageBytes);
  MakeUtf8(events_.back().mutable_message());
  event_bytes_ += events_.back().ByteSizeLong();
}

bool ChunkBuilder::full() const {
  return offsets_us_.size() >= kMaxChunkSamples || events_.size() >= kMaxChunkEvents ||
         event_bytes_ + 2 * kMaxEventMessageBytes > kMaxChunkEventBytes;
}

v1::Chunk ChunkBuilder::Finish() {
  v1::Chunk chunk;
  v1::ChunkHeader* const header = chunk.mutable_header();
  header->set_sample_count(static_cast<std::uint32_t>(offsets_us_.size()));
  header->set_event_count(static_cast<std::uint32_t>(events_.size()));

  if (!offsets_us_.empty()) {
    *header->mutable_start_offset() = FromMicros(offsets_us_.front());
    *header->mutable_end_offset() = FromMicros(offsets_us_.back());
  }
  for (const v1::Event& event : events_) {
    const std::int64_t us = IsOffset(event.offset()) ? ToMicros(event.offset()) : 0;
    const google::protobuf::Duration offset = FromMicros(us);
    if (!header->has_start_offset() || LessOffset(offset, header->start_offset())) {
      *header->mutable_start_offset() = offset;
    }
    if (!header->has_end_offset() || LessOffset(header->end_offset(), offset)) *header->mutable_end_offset() = offset;
  }

  body_.Clear();
  std::int64_t before = 0;
  for (const std::int64_t offset : offsets_us_) {
    body_.add_offset_us_deltas(Difference(offset, before));
    before = offset;
  }
  AddColumns(header);
  for (v1::Event& event : events_) body_.add_events()->Swap(&event);
  CompressBody(&chunk);

  offsets_us_.clear();
  rows_.clear();
  events_.clear();
  event_bytes_ = 0;
  return chunk;
}

void ChunkBuilder::AddColumns(v1::ChunkHeader* header) {
  const int samples = static_cast<int>(rows_.size());
  for (const Metric& metric : AllMetrics()) {
    const std::size_t index = metric.id - 1;
    const bool has_value = std::ranges::any_of(rows_, [index](const SampleRow& row) { return row[index] != kAbsent; });
    if (!has_value) continue;  // a metric that the device does not have costs nothing

    v1::ChunkColumn* const column = body_.add_columns();
    column->set_metric_id(metric.id);
    column->mutable_deltas()->Reserve(samples);
    v1::MetricSummary* const summary = header->add_summaries();
    summary->set_metric_id(metric.id);
    std::uint64_t bits = 0;  // that are set in any difference
    std::int64_t before = 0;
    std::int64_t min = std::numeric_limits<std::int64_t>::max();
    std::int64_t max = kAbsent;
    double sum = 0;
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const std::int64_t value = rows_[i][index];
      if (value == kAbsent) {
        column->add_deltas(0);
        column->add_absent_positions(static_cast<std::uint32_t>(i));
        continue;
      }
      const std::int64_t delta = Difference(value, before);
      column->add_deltas(delta);
      bits |= static_cast<std::uint64_t>(delta);
      before = value;
      if (count++ == 0) summary->set_first(value);
      min = std::min(min, value);
      max = std::max(max, value);
      sum += static_cast<double>(value);
    }
    if (const int shift = bits == 0 ? 0 : std::countr_zero(bits); shift > 0) {
      column->set_delta_shift(static_cast<std::uint32_t>(shift));
      for (std::int64_t& delta : *column->mutable_deltas()) delta >>= shift;
    }
    summary->set_count(count);
    summary->set_min(min);
    summary->set_max(max);
    summary->set_last(before);
    summary->set_sum(sum);
  }
}

void ChunkBuilder::CompressBody(v1::Chunk* chunk) {
  serialised_.clear();
  body_.AppendToString(&serialised_);
  v1::ChunkHeader* const header = chunk->mutable_header();
  header->set_uncompressed_size_bytes(static_cast<std::uint32_t>(serialised_.size()));

  if (context_ == nullptr) context_.reset(ZSTD_createCCtx());
  std::string* const body = chunk->mutable_body();
  std::size_t compressed = serialised_.size();
  if (context_ != nullptr) {
    body->resize(ZSTD_compressBound(serialised_.size()));
    compressed = ZSTD_compressCCtx(context_.get(), body->data(), body->size(), serialised_.data(), serialised_.size(),
                                   kCompressionLevel);
  }
  // Compression fails only for want of memory, which is what this program brings about: the samples are kept all the
  // same.
  if (ZSTD_isError(compressed) != 0U || compressed >= serialised_.size()) {
    header->set_compression(v1::ChunkHeader::NONE);
    *body = serialised_;
  } else {
    header->set_compression(v1::ChunkHeader::ZSTD);
    body->resize(compressed);
    body->shrink_to_fit();
  }
  header->set_body_crc32c(Crc32c(*body));
}

absl::Status ValidateChunk(const v1::Chunk& chunk) {
  if (!chunk.has_header()) return Damaged("no header");
  const v1::ChunkHeader& header = chunk.header();
  if (!header.has_start_offset() || !header.has_end_offset() || !IsOffset(header.start_offset()) ||
      !IsOffset(header.end_offset()) || LessOffset(header.end_offset(), header.start_offset())) {
    return Damaged("its time range is missing or impossible");
  }
  if (header.compression() != v1::ChunkHeader::NONE && header.compression() != v1::ChunkHeader::ZSTD) {
    return Damaged(fmt::format("unknown compression {}", static_cast<int>(header.compression())));
  }
  const std::size_t size = header.uncompressed_size_bytes();
  if (chunk.body().size() > kMaxChunkBytes || size > kMaxChunkBytes) {
    return Damaged(
        fmt::format("{} bytes, {} uncompressed; at most {} are allowed", chunk.body().size(), size, kMaxChunkBytes));
  }
  // Every sample takes a byte at least (its offset), every event two.
  if (header.sample_count() == 0 && header.event_count() == 0) return Damaged("neither samples nor events");
  if (header.sample_count() > std::min(kMaxChunkSamples, size) ||
      header.event_count() > std::min(kMaxChunkEvents, size / 2)) {
    return Damaged(
        fmt::format("{} samples and {} events in {} bytes", header.sample_count(), header.event_count(), size));
  }
  BALLAST_RETURN_IF_ERROR(ValidateSummaries(header));
  const std::uint32_t crc = Crc32c(chunk.body());
  if (crc != header.body_crc32c()) {
    return Damaged(fmt::format("CRC32C of the body is {:08x} instead of {:08x}", crc, header.body_crc32c()));
  }
  return absl::OkStatus();
}

absl::StatusOr<DecodedChunk> DecodeChunk(const v1::Chunk& chunk) {
  BALLAST_RETURN_IF_ERROR(ValidateChunk(chunk));
  BALLAST_ASSIGN_OR_RETURN(const std::string serialised, Decompress(chunk));
  BALLAST_RETURN_IF_ERROR(CheckCounts(chunk.header(), serialised));
  v1::ChunkBody body;
  if (!body.ParseFromString(serialised)) return Damaged("the body is not a message");

  const std::size_t samples = chunk.header().sample_count();
  if (static_cast<std::size_t>(body.offset_us_deltas_size()) != samples) {
    return Damaged(fmt::format("{} offsets for {} samples", body.offset_us_deltas_size(), samples));
  }
  DecodedChunk decoded;
  decoded.offsets.reserve(samples);
  BALLAST_RETURN_IF_ERROR(DecodeOffsets(body, &decoded.offsets));
  decoded.rows.assign(samples, EmptyRow());
  std::uint32_t last_id = 0;
  for (const v1::ChunkColumn& column : body.columns()) {
    if (column.metric_id() <= last_id) return Damaged("columns are not in order of their metrics");
    last_id = column.metric_id();
    BALLAST_RETURN_IF_ERROR(DecodeColumn(column, &decoded.rows));
  }
  decoded.events.reserve(static_cast<std::size_t>(body.events_size()));
  for (v1::Event& event : *body.mutable_events()) decoded.events.push_back(std::move(event));
  return decoded;
}

void MergeSummary(const v1::MetricSummary& from, v1::MetricSummary* into) {
  if (from.count() == 0) return;
  if (into->count() == 0) {
    *into = from;
    return;
  }
  into->set_count(into->count() + from.count());
  into->set_min(std::min(into->min(), from.min()));
  into->set_max(std::max(into->max(), from.max()));
  into->set_last(from.last());
  into->set_sum(into->sum() + from.sum());
}

}  // namespace ballast::metrics
