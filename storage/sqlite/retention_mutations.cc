#include "storage/sqlite/retention_mutations.h"

#include <fmt/format.h>

#include <optional>
#include <string>

#include "common/base/status.h"
#include "storage/sqlite/columns.h"

namespace ballast::storage {
namespace {

// Carries out a statement whose only parameter is an identifier.
absl::Status RunWith(Connection* connection, std::string_view sql, std::string_view identifier) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(sql));
  statement.Bind(1, identifier);
  return statement.Run();
}

// The state in the row with this identifier; nothing where there is no row.
absl::StatusOr<std::optional<std::int64_t>> StateOf(Connection* connection, std::string_view sql,
                                                    std::string_view identifier) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(sql));
  statement.Bind(1, identifier);
  BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  if (!has_row) return std::nullopt;
  return statement.Int64(0);
}

absl::StatusOr<bool> HasEnded(Connection* connection, std::string_view run_id) {
  BALLAST_ASSIGN_OR_RETURN(const std::optional<std::int64_t> state,
                           StateOf(connection, "SELECT state FROM runs WHERE run_id = ?1", run_id));
  return state == std::int64_t{v1::Run::ENDED};
}

absl::Status CheckHasEnded(Connection* connection, std::string_view what, std::string_view run_id) {
  BALLAST_ASSIGN_OR_RETURN(const bool ended, HasEnded(connection, run_id));
  if (ended) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format("{} of run {}: it has not ended, or does not exist", what, run_id));
}

// Deletes by (run_id, attempt, from, to).
absl::Status DeleteRange(Connection* connection, std::string_view sql, std::string_view run_id, std::uint32_t attempt,
                         std::int64_t first_seq, std::int64_t last_seq) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(sql));
  statement.Bind(1, run_id);
  statement.Bind(2, std::int64_t{attempt});
  statement.Bind(3, first_seq);
  statement.Bind(4, last_seq);
  return statement.Run();
}

constexpr std::string_view kDeleteChunks =
    "DELETE FROM chunks WHERE run_id = ?1 AND attempt = ?2 AND seq BETWEEN ?3 AND ?4";

}  // namespace

absl::Status ApplyMutation(Connection* connection, const ThinChunks& thin) {
  BALLAST_RETURN_IF_ERROR(CheckHasEnded(connection, "thin the samples", thin.run_id));
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t first_seq, ToColumn(thin.first_seq));
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t last_seq, ToColumn(thin.last_seq));
  BALLAST_RETURN_IF_ERROR(DeleteRange(connection, kDeleteChunks, thin.run_id, thin.attempt, first_seq, last_seq));
  if (connection->changes() != last_seq - first_seq + 1) {
    return absl::FailedPreconditionError(
        fmt::format("thin the samples of run {}, attempt {}: {} of the chunks {} to {} are there", thin.run_id,
                    thin.attempt, connection->changes(), first_seq, last_seq));
  }
  const std::string summary = thin.summary.SerializeAsString();
  const std::string events = thin.events.has_value() ? thin.events->SerializeAsString() : std::string();
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      INSERT INTO thinned_chunks (run_id, attempt, first_seq, last_seq, event_count, summary, events)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7))sql"));
  statement.Bind(1, thin.run_id);
  statement.Bind(2, std::int64_t{thin.attempt});
  statement.Bind(3, first_seq);
  statement.Bind(4, last_seq);
  statement.Bind(5, std::int64_t{thin.events.has_value() ? thin.events->header().event_count() : 0});
  statement.BindBlob(6, summary);
  statement.BindBlob(7, events);
  return statement.Run();
}

absl::Status ApplyMutation(Connection* connection, const MarkThinned& mark) {
  BALLAST_ASSIGN_OR_RETURN(const bool ended, HasEnded(connection, mark.run_id));
  if (!ended) return absl::OkStatus();
  if (mark.time.has_value()) {
    v1::Run run;
    {
      BALLAST_ASSIGN_OR_RETURN(Statement read, connection->Cached("SELECT message FROM runs WHERE run_id = ?1"));
      read.Bind(1, mark.run_id);
      BALLAST_ASSIGN_OR_RETURN(const bool has_row, read.Step());
      if (!has_row) return absl::OkStatus();
      BALLAST_ASSIGN_OR_RETURN(run, ParseColumn<v1::Run>(read.Blob(0), fmt::format("run {}", mark.run_id)));
    }
    if (!run.has_samples_thinned_time()) {
      *run.mutable_samples_thinned_time() = base::ToProto(*mark.time);
      const std::string message = run.SerializeAsString();
      BALLAST_ASSIGN_OR_RETURN(
          Statement write,
          connection->Cached("UPDATE runs SET message = ?2, samples_thinned_ns = ?3 WHERE run_id = ?1"));
      write.Bind(1, mark.run_id);
      write.BindBlob(2, message);
      write.Bind(3, ToColumn(run.samples_thinned_time()));
      BALLAST_RETURN_IF_ERROR(write.Run());
    }
  }
  if (!mark.done) return absl::OkStatus();
  return RunWith(connection, "UPDATE runs SET samples_whole = 0 WHERE run_id = ?1", mark.run_id);
}

absl::Status ApplyMutation(Connection* connection, const DeleteChunks& deletion) {
  BALLAST_RETURN_IF_ERROR(CheckHasEnded(connection, "delete the samples", deletion.run_id));
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t first_seq, ToColumn(deletion.first_seq));
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t last_seq, ToColumn(deletion.last_seq));
  BALLAST_RETURN_IF_ERROR(
      DeleteRange(connection, kDeleteChunks, deletion.run_id, deletion.attempt, first_seq, last_seq));
  return DeleteRange(connection,
                     "DELETE FROM thinned_chunks WHERE run_id = ?1 AND attempt = ?2 AND first_seq BETWEEN ?3 AND ?4",
                     deletion.run_id, deletion.attempt, first_seq, last_seq);
}

absl::Status ApplyMutation(Connection* connection, const DeleteRun& deletion) {
  BALLAST_ASSIGN_OR_RETURN(const std::optional<std::int64_t> state,
                           StateOf(connection, "SELECT state FROM runs WHERE run_id = ?1", deletion.run_id));
  if (!state.has_value()) return absl::OkStatus();
  if (*state != std::int64_t{v1::Run::ENDED}) {
    return absl::FailedPreconditionError(fmt::format("delete run {}: it has not ended", deletion.run_id));
  }
  // Annotations go with the run (ON DELETE CASCADE).
  for (const std::string_view sql :
       {"DELETE FROM chunks WHERE run_id = ?1", "DELETE FROM thinned_chunks WHERE run_id = ?1",
        "DELETE FROM rollups WHERE run_id = ?1", "DELETE FROM runs WHERE run_id = ?1"}) {
    BALLAST_RETURN_IF_ERROR(
        base::WithContext(RunWith(connection, sql, deletion.run_id), fmt::format("delete run {}", deletion.run_id)));
  }
  return absl::OkStatus();
}

absl::Status ApplyMutation(Connection* connection, const DeleteJob& deletion) {
  BALLAST_ASSIGN_OR_RETURN(const std::optional<std::int64_t> state,
                           StateOf(connection, "SELECT state FROM jobs WHERE job_id = ?1", deletion.job_id));
  if (!state.has_value()) return absl::OkStatus();
  if (*state != std::int64_t{v1::Job::FINISHED} && *state != std::int64_t{v1::Job::CANCELLED}) {
    return absl::FailedPreconditionError(fmt::format("delete job {}: it has not ended", deletion.job_id));
  }
  // Its runs refer to it: what is left of them makes this fail.
  return base::WithContext(RunWith(connection, "DELETE FROM jobs WHERE job_id = ?1", deletion.job_id),
                           fmt::format("delete job {}", deletion.job_id));
}

absl::Status ApplyMutation(Connection* connection, const ReleaseSpace& release) {
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t page_bytes, connection->QueryInt64("PRAGMA page_size"));
  return connection->Execute(
      fmt::format("PRAGMA incremental_vacuum({})", release.max_bytes / static_cast<std::uint64_t>(page_bytes)));
}

absl::StatusOr<bool> IsThinned(Connection* connection, std::string_view run_id, std::uint32_t attempt,
                               std::int64_t seq) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      SELECT last_seq FROM thinned_chunks WHERE run_id = ?1 AND attempt = ?2 AND first_seq <= ?3
      ORDER BY first_seq DESC LIMIT 1)sql"));
  statement.Bind(1, run_id);
  statement.Bind(2, std::int64_t{attempt});
  statement.Bind(3, seq);
  BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  return has_row && statement.Int64(0) >= seq;
}

absl::Status NoteWholeSamples(Connection* connection, std::string_view run_id) {
  return RunWith(connection,
                 "UPDATE runs INDEXED BY runs_thinned SET samples_whole = 1 WHERE run_id = ?1 AND samples_whole = 0",
                 run_id);
}

}  // namespace ballast::storage
