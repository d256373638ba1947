// Prints what chunks of realistic samples cost: bytes a value, and values a second encoded and decoded.
// Usage: bench_chunk_codec [CHUNKS]
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "common/metrics/chunk_codec.h"
#include "tests/bench/synthetic_samples.h"

namespace {

using ballast::bench::SyntheticSamples;
namespace metrics = ballast::metrics;

constexpr std::size_t kSamplesPerChunk = 50;  // five seconds at the default interval

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int Measure(std::string_view name, SyntheticSamples::Load load, std::size_t chunk_count) {
  SyntheticSamples source(load);
  std::vector<metrics::SampleRow> rows(kSamplesPerChunk * chunk_count);
  for (metrics::SampleRow& row : rows) row = source.Next();

  metrics::ChunkBuilder builder;
  std::vector<ballast::v1::Chunk> chunks;
  chunks.reserve(chunk_count);
  const auto encode_start = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    builder.AddSample(std::chrono::milliseconds(100) * i, rows[i]);
    if (builder.sample_count() == kSamplesPerChunk) chunks.push_back(builder.Finish());
  }
  const double encode_seconds = SecondsSince(encode_start);

  std::size_t bytes = 0;
  std::size_t header_bytes = 0;
  for (const ballast::v1::Chunk& chunk : chunks) {
    bytes += chunk.ByteSizeLong();
    header_bytes += chunk.header().ByteSizeLong();
  }
  std::size_t position = 0;
  const auto decode_start = std::chrono::steady_clock::now();
  for (const ballast::v1::Chunk& chunk : chunks) {
    const auto decoded = metrics::DecodeChunk(chunk);
    if (!decoded.ok()) {
      fmt::print(stderr, "{}\n", std::string(decoded.status().message()));
      return EXIT_FAILURE;
    }
    for (const metrics::SampleRow& row : decoded->rows) {
      if (row != rows[position++]) {
        fmt::print(stderr, "sample {} came back with other values\n", position - 1);
        return EXIT_FAILURE;
      }
    }
  }
  const double decode_seconds = SecondsSince(decode_start);

  std::size_t value_count = 0;
  for (const metrics::SampleRow& row : rows) {
    for (const std::int64_t value : row) value_count += value == metrics::kAbsent ? 0U : 1U;
  }
  const double values = static_cast<double>(value_count);
  fmt::print(
      "{:8} {:.2f} bytes/value (header {:.2f}), encode {:.1f} M values/s, decode and compare {:.1f} M values/s\n", name,
      static_cast<double>(bytes) / values, static_cast<double>(header_bytes) / values, values / encode_seconds / 1e6,
      values / decode_seconds / 1e6);
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t chunk_count = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 200;
  fmt::print("chunks of {} samples x {} metrics\n", kSamplesPerChunk, metrics::kMetricCount);
  if (Measure("idle", SyntheticSamples::Load::kIdle, chunk_count) != EXIT_SUCCESS) return EXIT_FAILURE;
  if (Measure("hold", SyntheticSamples::Load::kHold, chunk_count) != EXIT_SUCCESS) return EXIT_FAILURE;
  return Measure("thrash", SyntheticSamples::Load::kThrash, chunk_count);
}
