#include "coordinator/rpc/run_service.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/metrics/chunk_codec.h"
#include "common/metrics/metric_table.h"
#include "common/rpc/channel.h"
#include "coordinator/report/thinned_samples.h"
#include "coordinator/rpc/answer.h"

namespace ballast::coordinator {
namespace {

// Of thinned runs; of others a message is a chunk.
constexpr std::size_t kSamplesPerMessage = 256;

using MetricList = std::vector<const metrics::Metric*>;

absl::StatusOr<MetricList> NamedMetrics(const v1::ReadSamplesRequest& request) {
  MetricList list;
  for (const std::string& name : request.metrics()) {
    const metrics::Metric* metric = metrics::FindMetric(std::string_view(name));
    if (metric == nullptr) {
      return absl::InvalidArgumentError(fmt::format("there is no metric '{}'; docs/telemetry.md lists them", name));
    }
    list.push_back(metric);
  }
  return list;
}

absl::StatusOr<MetricList> SampledMetrics(storage::Store& store, const std::string& run_id, std::uint32_t attempt) {
  BALLAST_ASSIGN_OR_RETURN(const std::vector<v1::MetricSummary> rollups, store.GetRollups(run_id, attempt));
  MetricList list;
  for (const v1::MetricSummary& rollup : rollups) {
    const metrics::Metric* metric = metrics::FindMetric(rollup.metric_id());
    if (metric != nullptr && rollup.count() > 0) list.push_back(metric);
  }
  return list;
}

v1::SampleSeries ToSeries(const metrics::DecodedChunk& chunk, const MetricList& list) {
  v1::SampleSeries series;
  series.set_stride(1);
  series.mutable_offset_ms()->Reserve(static_cast<int>(chunk.offsets.size()));
  for (const std::chrono::microseconds offset : chunk.offsets) {
    series.add_offset_ms(std::chrono::duration<double, std::milli>(offset).count());
  }
  for (const metrics::Metric* metric : list) {
    v1::SampleColumn& column = *series.add_columns();
    column.set_metric(std::string(metric->name));
    column.mutable_values()->Reserve(static_cast<int>(chunk.rows.size()));
    for (const metrics::SampleRow& row : chunk.rows) {
      const std::int64_t stored = row[metric->id - 1];
      column.add_values(stored == metrics::kAbsent ? std::numeric_limits<double>::quiet_NaN()
                                                   : static_cast<double>(stored) / static_cast<double>(metric->scale));
    }
  }
  return series;
}

}  // namespace

grpc::Status RunService::GetRun(grpc::ServerContext* context, const v1::GetRunRequest* request, v1::Run* response) {
  if (grpc::Status refused = admission_->Admit(context, "GetRun"); !refused.ok()) return refused;
  return Answer(store_.GetRun(request->run_id()), response);
}

grpc::Status RunService::ListRuns(grpc::ServerContext* context, const v1::ListRunsRequest* request,
                                  v1::ListRunsResponse* response) {
  if (grpc::Status refused = admission_->Admit(context, "ListRuns"); !refused.ok()) return refused;
  return Answer(store_.ListRuns(*request), response);
}

grpc::Status RunService::ReadSamples(grpc::ServerContext* context, const v1::ReadSamplesRequest* request,
                                     grpc::ServerWriter<v1::SampleSeries>* writer) {
  if (grpc::Status refused = admission_->Admit(context, "ReadSamples"); !refused.ok()) return refused;
  const absl::Status status = [&]() -> absl::Status {
    BALLAST_ASSIGN_OR_RETURN(const v1::Run run, store_.GetRun(request->run_id()));
    const std::uint32_t attempt =
        request->attempt() != 0 ? request->attempt() : static_cast<std::uint32_t>(run.attempts_size());
    if (request->attempt() > static_cast<std::uint32_t>(run.attempts_size())) {
      return absl::NotFoundError(
          fmt::format("run {} has no attempt {}; it has {}", run.run_id(), request->attempt(), run.attempts_size()));
    }
    BALLAST_ASSIGN_OR_RETURN(MetricList list, NamedMetrics(*request));
    if (list.empty()) {
      BALLAST_ASSIGN_OR_RETURN(list, SampledMetrics(store_, run.run_id(), attempt));
    }
    bool damage_told = false;
    const auto tell_damage = [&](std::uint64_t seq, const absl::Status& reason) {
      // What is left of the attempt is worth reading, and reports leave it out as well.
      if (std::exchange(damage_told, true)) return;
      base::Log().warn("run {}, attempt {}: samples are left out, from record {} on: {}", run.run_id(), attempt, seq,
                       std::string(reason.message()));
    };
    const auto write = [&](const metrics::DecodedChunk& samples) -> absl::Status {
      if (context->IsCancelled() || !writer->Write(ToSeries(samples, list))) {
        return absl::CancelledError("the reader has gone");
      }
      return absl::OkStatus();
    };
    if (run.has_samples_thinned_time()) {
      metrics::DecodedChunk samples;
      BALLAST_RETURN_IF_ERROR(report::ReadThinnedSamples(
          store_, run.run_id(), attempt,
          [&](std::chrono::microseconds offset, const metrics::SampleRow& row) {
            samples.offsets.push_back(offset);
            samples.rows.push_back(row);
            if (samples.rows.size() < kSamplesPerMessage) return absl::OkStatus();
            const absl::Status written = write(samples);
            samples = {};
            return written;
          },
          tell_damage));
      return samples.rows.empty() ? absl::OkStatus() : write(samples);
    }
    return store_.ReadChunks(run.run_id(), attempt, [&](std::uint64_t seq, const v1::Chunk& chunk) -> absl::Status {
      if (chunk.header().sample_count() == 0) return absl::OkStatus();
      const absl::StatusOr<metrics::DecodedChunk> decoded = metrics::DecodeChunk(chunk);
      if (!decoded.ok()) {
        tell_damage(seq, decoded.status());
        return absl::OkStatus();
      }
      return write(*decoded);
    });
  }();
  return rpc::ToGrpc(status);
}

}  // namespace ballast::coordinator
