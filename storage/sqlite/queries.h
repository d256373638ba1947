// Reads that are not lists of pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/sqlite/connection.h"
#include "storage/store.h"

namespace ballast::storage {

// As the methods of Store with these names, on one connection.
[[nodiscard]] absl::StatusOr<v1::Job> GetJob(Connection* connection, std::string_view job_id);
[[nodiscard]] absl::StatusOr<v1::Job> FindJobByRequestId(Connection* connection, std::string_view request_id);
[[nodiscard]] absl::StatusOr<std::string> GreatestJobId(Connection* connection);
[[nodiscard]] absl::StatusOr<v1::Run> GetRun(Connection* connection, std::string_view run_id);
[[nodiscard]] absl::StatusOr<v1::Device> GetDevice(Connection* connection, std::string_view device_id);
[[nodiscard]] absl::StatusOr<std::vector<v1::Run>> RunsOfJob(Connection* connection, std::string_view job_id);
[[nodiscard]] absl::StatusOr<std::vector<v1::MetricSummary>> GetRollups(Connection* connection, std::string_view run_id,
                                                                        std::uint32_t attempt);
[[nodiscard]] absl::StatusOr<OpenState> LoadOpenState(Connection* connection);

enum class WhichChunks { kAll, kWithEvents, kWhole };

// The first chunks of an attempt whose seq is above `after` (-1 for all), ordered by seq: as many as `max_bytes` hold,
// and one at least where there is one.
[[nodiscard]] absl::StatusOr<std::vector<std::pair<std::int64_t, v1::Chunk>>> ReadChunksAfter(
    Connection* connection, std::string_view run_id, std::uint32_t attempt, std::int64_t after, std::size_t max_bytes,
    WhichChunks which);

// The first summaries of thinned chunks whose last seq is above `after`, ordered by it, with that seq: `limit` at most.
[[nodiscard]] absl::StatusOr<std::vector<std::pair<std::int64_t, v1::ChunkHeader>>> ReadSummariesAfter(
    Connection* connection, std::string_view run_id, std::uint32_t attempt, std::int64_t after, std::size_t limit);

[[nodiscard]] absl::StatusOr<std::vector<std::uint64_t>> ChunkPositions(Connection* connection, std::string_view run_id,
                                                                        std::uint32_t attempt);
[[nodiscard]] absl::StatusOr<std::vector<v1::Run>> RunsToThin(Connection* connection, const CreationKey& after,
                                                              base::SystemTime created_before, std::size_t limit);
[[nodiscard]] absl::StatusOr<std::vector<v1::Job>> JobsCreatedBefore(Connection* connection, const CreationKey& after,
                                                                     base::SystemTime created_before,
                                                                     std::size_t limit);
[[nodiscard]] absl::StatusOr<SpaceUse> GetSpaceUse(Connection* connection);

}  // namespace ballast::storage
