#include "storage/sqlite/queries.h"

#include <fmt/format.h>

#include <string>

#include "common/base/status.h"
#include "storage/sqlite/columns.h"

namespace ballast::storage {
namespace {

// The message that `sql` finds for `key`; NOT_FOUND. `what` names it.
template <typename Message>
absl::StatusOr<Message> GetMessage(Connection* connection, std::string_view sql, std::string_view key,
                                   std::string_view what) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(sql));
  statement.Bind(1, key);
  BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  if (!has_row) return absl::NotFoundError(fmt::format("{} {} does not exist", what, key));
  return ParseColumn<Message>(statement.Blob(0), fmt::format("{} {}", what, key));
}

// Every message of a statement whose first column is the message and whose second is its identifier.
template <typename Message>
absl::Status AppendMessages(Statement* statement, std::string_view what, std::vector<Message>* messages) {
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement->Step());
    if (!has_row) return absl::OkStatus();
    BALLAST_ASSIGN_OR_RETURN(Message message,
                             ParseColumn<Message>(statement->Blob(0), fmt::format("{} {}", what, statement->Text(1))));
    messages->push_back(std::move(message));
  }
}

// The parameters of a list in order of creation.
void BindKey(Statement* statement, const CreationKey& after, base::SystemTime created_before, std::size_t limit) {
  statement->Bind(1, std::int64_t{after.create_time.time_since_epoch().count()});
  statement->Bind(2, after.id);
  statement->Bind(3, std::int64_t{created_before.time_since_epoch().count()});
  statement->Bind(4, static_cast<std::int64_t>(limit));
}

}  // namespace

absl::StatusOr<v1::Job> GetJob(Connection* connection, std::string_view job_id) {
  return GetMessage<v1::Job>(connection, "SELECT message FROM jobs WHERE job_id = ?1", job_id, "job");
}

absl::StatusOr<v1::Job> FindJobByRequestId(Connection* connection, std::string_view request_id) {
  // The second condition lets the index serve, which leaves jobs without a request_id out.
  return GetMessage<v1::Job>(connection, "SELECT message FROM jobs WHERE request_id = ?1 AND request_id <> ''",
                             request_id, "job with request_id");
}

absl::StatusOr<std::string> GreatestJobId(Connection* connection) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement,
                           connection->Cached("SELECT job_id FROM jobs ORDER BY job_id DESC LIMIT 1"));
  BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  return has_row ? std::string(statement.Text(0)) : std::string();
}

absl::StatusOr<v1::Run> GetRun(Connection* connection, std::string_view run_id) {
  return GetMessage<v1::Run>(connection, "SELECT message FROM runs WHERE run_id = ?1", run_id, "run");
}

absl::StatusOr<v1::Device> GetDevice(Connection* connection, std::string_view device_id) {
  return GetMessage<v1::Device>(connection, "SELECT message FROM devices WHERE device_id = ?1", device_id, "device");
}

absl::StatusOr<std::vector<v1::Run>> RunsOfJob(Connection* connection, std::string_view job_id) {
  // The identifiers of a job's runs differ only in the number at their end, so that shorter ones have smaller numbers.
  BALLAST_ASSIGN_OR_RETURN(
      Statement statement,
      connection->Cached("SELECT message, run_id FROM runs WHERE job_id = ?1 ORDER BY length(run_id), run_id"));
  statement.Bind(1, job_id);
  std::vector<v1::Run> runs;
  BALLAST_RETURN_IF_ERROR(AppendMessages(&statement, "run", &runs));
  return runs;
}

absl::StatusOr<std::vector<v1::MetricSummary>> GetRollups(Connection* connection, std::string_view run_id,
                                                          std::uint32_t attempt) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      SELECT metric_id, value_count, min_value, max_value, first_value, last_value, value_sum FROM rollups
      WHERE run_id = ?1 AND attempt = ?2 ORDER BY metric_id)sql"));
  statement.Bind(1, run_id);
  statement.Bind(2, std::int64_t{attempt});
  std::vector<v1::MetricSummary> summaries;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return summaries;
    v1::MetricSummary& summary = summaries.emplace_back();
    summary.set_metric_id(static_cast<std::uint32_t>(statement.Int64(0)));
    summary.set_count(static_cast<std::uint64_t>(statement.Int64(1)));
    summary.set_min(statement.Int64(2));
    summary.set_max(statement.Int64(3));
    summary.set_first(statement.Int64(4));
    summary.set_last(statement.Int64(5));
    summary.set_sum(statement.Double(6));
  }
}

absl::StatusOr<OpenState> LoadOpenState(Connection* connection) {
  // One transaction, so that the parts belong to the same moment.
  BALLAST_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection, Transaction::Kind::kRead));
  OpenState state;
  {
    BALLAST_ASSIGN_OR_RETURN(Statement jobs, connection->Cached(R"sql(
        SELECT message, job_id FROM jobs WHERE state IN (?1, ?2, ?3) ORDER BY create_time_ns, job_id)sql"));
    jobs.Bind(1, std::int64_t{v1::Job::STATE_UNSPECIFIED});
    jobs.Bind(2, std::int64_t{v1::Job::QUEUED});
    jobs.Bind(3, std::int64_t{v1::Job::RUNNING});
    BALLAST_RETURN_IF_ERROR(AppendMessages(&jobs, "job", &state.jobs));
  }
  for (const v1::Job& job : state.jobs) {
    BALLAST_ASSIGN_OR_RETURN(std::vector<v1::Run> runs, RunsOfJob(connection, job.job_id()));
    for (v1::Run& run : runs) state.runs.push_back(std::move(run));
  }
  {
    BALLAST_ASSIGN_OR_RETURN(Statement devices,
                             connection->Cached("SELECT message, device_id FROM devices ORDER BY device_id"));
    BALLAST_RETURN_IF_ERROR(AppendMessages(&devices, "device", &state.devices));
  }
  {
    BALLAST_ASSIGN_OR_RETURN(
        Statement reservations,
        connection->Cached("SELECT message, reservation_id FROM reservations ORDER BY reservation_id"));
    BALLAST_RETURN_IF_ERROR(AppendMessages(&reservations, "reservation", &state.reservations));
  }
  {
    BALLAST_ASSIGN_OR_RETURN(Statement schedules,
                             connection->Cached("SELECT message, schedule_id FROM schedules ORDER BY schedule_id"));
    BALLAST_RETURN_IF_ERROR(AppendMessages(&schedules, "schedule", &state.schedules));
  }
  BALLAST_RETURN_IF_ERROR(transaction.Commit());
  return state;
}

absl::StatusOr<std::vector<std::pair<std::int64_t, v1::Chunk>>> ReadChunksAfter(
    Connection* connection, std::string_view run_id, std::uint32_t attempt, std::int64_t after, std::size_t max_bytes,
    WhichChunks which) {
  // Each of the two parts is in order already, so that they are merged and not sorted.
  constexpr std::string_view kAll = R"sql(
      SELECT seq, message FROM chunks WHERE run_id = ?1 AND attempt = ?2 AND seq > ?3
      UNION ALL
      SELECT first_seq, events FROM thinned_chunks INDEXED BY thinned_chunks_with_events
      WHERE run_id = ?1 AND attempt = ?2 AND first_seq > ?3 AND event_count > 0
      ORDER BY 1)sql";
  constexpr std::string_view kWithEvents = R"sql(
      SELECT seq, message FROM chunks INDEXED BY chunks_with_events
      WHERE run_id = ?1 AND attempt = ?2 AND seq > ?3 AND event_count > 0
      UNION ALL
      SELECT first_seq, events FROM thinned_chunks INDEXED BY thinned_chunks_with_events
      WHERE run_id = ?1 AND attempt = ?2 AND first_seq > ?3 AND event_count > 0
      ORDER BY 1)sql";
  constexpr std::string_view kWhole =
      "SELECT seq, message FROM chunks WHERE run_id = ?1 AND attempt = ?2 AND seq > ?3 ORDER BY seq";
  const std::string_view sql = which == WhichChunks::kAll          ? kAll
                               : which == WhichChunks::kWithEvents ? kWithEvents
                                                                   : kWhole;
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(sql));
  statement.Bind(1, run_id);
  statement.Bind(2, std::int64_t{attempt});
  statement.Bind(3, after);
  std::vector<std::pair<std::int64_t, v1::Chunk>> chunks;
  std::size_t bytes = 0;
  while (bytes < max_bytes) {
    BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) break;
    const std::int64_t seq = statement.Int64(0);
    const std::string_view blob = statement.Blob(1);
    bytes += blob.size() + sizeof(v1::Chunk);
    BALLAST_ASSIGN_OR_RETURN(v1::Chunk chunk, ParseColumn<v1::Chunk>(blob, fmt::format("chunk {} of run {}, attempt {}",
                                                                                       seq, run_id, attempt)));
    chunks.emplace_back(seq, std::move(chunk));
  }
  return chunks;
}

absl::StatusOr<std::vector<std::pair<std::int64_t, v1::ChunkHeader>>> ReadSummariesAfter(
    Connection* connection, std::string_view run_id, std::uint32_t attempt, std::int64_t after, std::size_t limit) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      SELECT last_seq, summary FROM thinned_chunks WHERE run_id = ?1 AND attempt = ?2 AND first_seq > ?3
      ORDER BY first_seq LIMIT ?4)sql"));
  statement.Bind(1, run_id);
  statement.Bind(2, std::int64_t{attempt});
  statement.Bind(3, after);
  statement.Bind(4, static_cast<std::int64_t>(limit));
  std::vector<std::pair<std::int64_t, v1::ChunkHeader>> summaries;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return summaries;
    BALLAST_ASSIGN_OR_RETURN(v1::ChunkHeader summary,
                             ParseColumn<v1::ChunkHeader>(
                                 statement.Blob(1), fmt::format("a summary of run {}, attempt {}", run_id, attempt)));
    summaries.emplace_back(statement.Int64(0), std::move(summary));
  }
}

absl::StatusOr<std::vector<std::uint64_t>> ChunkPositions(Connection* connection, std::string_view run_id,
                                                          std::uint32_t attempt) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      SELECT seq FROM chunks WHERE run_id = ?1 AND attempt = ?2
      UNION ALL SELECT first_seq FROM thinned_chunks WHERE run_id = ?1 AND attempt = ?2
      ORDER BY 1)sql"));
  statement.Bind(1, run_id);
  statement.Bind(2, std::int64_t{attempt});
  std::vector<std::uint64_t> positions;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return positions;
    positions.push_back(static_cast<std::uint64_t>(statement.Int64(0)));
  }
}

absl::StatusOr<std::vector<v1::Run>> RunsToThin(Connection* connection, const CreationKey& after,
                                                base::SystemTime created_before, std::size_t limit) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      SELECT message, run_id FROM runs INDEXED BY runs_to_thin
      WHERE samples_whole = 1 AND (create_time_ns, run_id) > (?1, ?2) AND create_time_ns < ?3
      ORDER BY create_time_ns, run_id LIMIT ?4)sql"));
  BindKey(&statement, after, created_before, limit);
  std::vector<v1::Run> runs;
  BALLAST_RETURN_IF_ERROR(AppendMessages(&statement, "run", &runs));
  return runs;
}

absl::StatusOr<std::vector<v1::Job>> JobsCreatedBefore(Connection* connection, const CreationKey& after,
                                                       base::SystemTime created_before, std::size_t limit) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      SELECT message, job_id FROM jobs INDEXED BY jobs_by_time
      WHERE (create_time_ns, job_id) > (?1, ?2) AND create_time_ns < ?3
      ORDER BY create_time_ns, job_id LIMIT ?4)sql"));
  BindKey(&statement, after, created_before, limit);
  std::vector<v1::Job> jobs;
  BALLAST_RETURN_IF_ERROR(AppendMessages(&statement, "job", &jobs));
  return jobs;
}

absl::StatusOr<SpaceUse> GetSpaceUse(Connection* connection) {
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t page_bytes, connection->QueryInt64("PRAGMA page_size"));
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t pages, connection->QueryInt64("PRAGMA page_count"));
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t free_pages, connection->QueryInt64("PRAGMA freelist_count"));
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t auto_vacuum, connection->QueryInt64("PRAGMA auto_vacuum"));
  constexpr std::int64_t kIncremental = 2;
  return SpaceUse{.total_bytes = static_cast<std::uint64_t>(pages * page_bytes),
                  .free_bytes = static_cast<std::uint64_t>(free_pages * page_bytes),
                  .can_release = auto_vacuum == kIncremental};
}

}  // namespace ballast::storage
