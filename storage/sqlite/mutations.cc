#include "storage/sqlite/mutations.h"

#include <fmt/format.h>

#include <chrono>

#include "common/base/status.h"
#include "storage/sqlite/audit.h"
#include "storage/sqlite/certificates.h"
#include "storage/sqlite/columns.h"
#include "storage/sqlite/retention_mutations.h"

namespace ballast::storage {
namespace {

absl::Status CheckIdentifier(std::string_view what, std::string_view identifier) {
  if (!identifier.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("a {} without an identifier cannot be stored", what));
}

absl::StatusOr<bool> HasRow(Connection* connection, std::string_view sql, std::string_view key) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(sql));
  statement.Bind(1, key);
  return statement.Step();
}

// Deletes the rows that belong to `key`.
absl::Status DeleteRows(Connection* connection, std::string_view sql, std::string_view key) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(sql));
  statement.Bind(1, key);
  return statement.Run();
}

absl::Status ApplyMutation(Connection* connection, const PutJob& put) {
  const v1::Job& job = put.job;
  BALLAST_RETURN_IF_ERROR(CheckIdentifier("job", job.job_id()));
  const std::string message = job.SerializeAsString();
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      INSERT INTO jobs (job_id, create_time_ns, state, request_id, message) VALUES (?1, ?2, ?3, ?4, ?5)
      ON CONFLICT (job_id) DO UPDATE SET create_time_ns = excluded.create_time_ns, state = excluded.state,
        request_id = excluded.request_id, message = excluded.message)sql"));
  statement.Bind(1, job.job_id());
  statement.Bind(2, ToColumn(job.create_time()));
  statement.Bind(3, std::int64_t{job.state()});
  statement.Bind(4, job.request_id());
  statement.BindBlob(5, message);
  return base::WithContext(statement.Run(), fmt::format("store job {}", job.job_id()));
}

absl::Status WriteAnnotations(Connection* connection, const v1::Run& run) {
  BALLAST_RETURN_IF_ERROR(DeleteRows(connection, "DELETE FROM run_annotations WHERE run_id = ?1", run.run_id()));
  for (const auto& [name, value] : run.annotations()) {
    BALLAST_ASSIGN_OR_RETURN(
        Statement statement,
        connection->Cached(
            "INSERT INTO run_annotations (name, value, create_time_ns, run_id) VALUES (?1, ?2, ?3, ?4)"));
    statement.Bind(1, name);
    statement.Bind(2, value);
    statement.Bind(3, ToColumn(run.create_time()));
    statement.Bind(4, run.run_id());
    BALLAST_RETURN_IF_ERROR(statement.Run());
  }
  return absl::OkStatus();
}

// The run as it is stored. Whoever puts an ended one again may have read it before it was thinned.
absl::StatusOr<std::string> MessageOf(Connection* connection, const v1::Run& run) {
  if (run.state() != v1::Run::ENDED || run.has_samples_thinned_time()) return run.SerializeAsString();
  BALLAST_ASSIGN_OR_RETURN(Statement statement,
                           connection->Cached("SELECT samples_thinned_ns FROM runs WHERE run_id = ?1"));
  statement.Bind(1, run.run_id());
  BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  if (!has_row || statement.Int64(0) == 0) return run.SerializeAsString();
  v1::Run thinned = run;
  *thinned.mutable_samples_thinned_time() =
      base::ToProto(base::SystemTime(std::chrono::nanoseconds(statement.Int64(0))));
  return thinned.SerializeAsString();
}

absl::Status ApplyMutation(Connection* connection, const PutRun& put) {
  const v1::Run& run = put.run;
  BALLAST_RETURN_IF_ERROR(CheckIdentifier("run", run.run_id()));
  const std::string context = fmt::format("store run {}", run.run_id());
  BALLAST_ASSIGN_OR_RETURN(const bool has_job,
                           HasRow(connection, "SELECT 1 FROM jobs WHERE job_id = ?1", run.job_id()));
  if (!has_job) return absl::FailedPreconditionError(fmt::format("{}: job {} does not exist", context, run.job_id()));
  // Only what waits for any of several devices, or was ended while it did, has none.
  const bool needs_device = !run.device_id().empty() || !run.attempts().empty() ||
                            (run.state() != v1::Run::QUEUED && run.state() != v1::Run::ENDED);
  if (needs_device) {
    BALLAST_ASSIGN_OR_RETURN(const bool has_device,
                             HasRow(connection, "SELECT 1 FROM devices WHERE device_id = ?1", run.device_id()));
    if (!has_device) {
      return absl::FailedPreconditionError(fmt::format("{}: device {} does not exist", context, run.device_id()));
    }
  }

  BALLAST_ASSIGN_OR_RETURN(const std::string message, MessageOf(connection, run));
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      INSERT INTO runs (run_id, job_id, device_id, create_time_ns, state, outcome, workload_kind, message)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
      ON CONFLICT (run_id) DO UPDATE SET job_id = excluded.job_id, device_id = excluded.device_id,
        create_time_ns = excluded.create_time_ns, state = excluded.state, outcome = excluded.outcome,
        workload_kind = excluded.workload_kind, message = excluded.message)sql"));
  statement.Bind(1, run.run_id());
  statement.Bind(2, run.job_id());
  statement.Bind(3, run.device_id());
  statement.Bind(4, ToColumn(run.create_time()));
  statement.Bind(5, std::int64_t{run.state()});
  statement.Bind(6, std::int64_t{run.outcome().kind()});
  statement.Bind(7, run.workload_kind());
  statement.BindBlob(8, message);
  BALLAST_RETURN_IF_ERROR(base::WithContext(statement.Run(), context));
  return base::WithContext(WriteAnnotations(connection, run), context);
}

absl::Status ApplyMutation(Connection* connection, const PutDevice& put) {
  const v1::Device& device = put.device;
  BALLAST_RETURN_IF_ERROR(CheckIdentifier("device", device.device_id()));
  const std::string context = fmt::format("store device {}", device.device_id());
  const std::string message = device.SerializeAsString();
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      INSERT INTO devices (device_id, message) VALUES (?1, ?2)
      ON CONFLICT (device_id) DO UPDATE SET message = excluded.message)sql"));
  statement.Bind(1, device.device_id());
  statement.BindBlob(2, message);
  BALLAST_RETURN_IF_ERROR(base::WithContext(statement.Run(), context));

  BALLAST_RETURN_IF_ERROR(base::WithContext(
      DeleteRows(connection, "DELETE FROM device_labels WHERE device_id = ?1", device.device_id()), context));
  for (const auto& [name, value] : device.labels()) {
    BALLAST_ASSIGN_OR_RETURN(
        Statement label, connection->Cached("INSERT INTO device_labels (name, value, device_id) VALUES (?1, ?2, ?3)"));
    label.Bind(1, name);
    label.Bind(2, value);
    label.Bind(3, device.device_id());
    BALLAST_RETURN_IF_ERROR(base::WithContext(label.Run(), context));
  }
  return absl::OkStatus();
}

absl::Status ApplyMutation(Connection* connection, const DeleteDevice& deletion) {
  // The few runs that have not ended are looked through, not the many of the device.
  BALLAST_ASSIGN_OR_RETURN(Statement open_run, connection->Cached(R"sql(
      SELECT run_id FROM runs INDEXED BY runs_by_state WHERE state IN (?1, ?2, ?3, ?4) AND device_id = ?5
      ORDER BY run_id LIMIT 1)sql"));
  open_run.Bind(1, std::int64_t{v1::Run::STATE_UNSPECIFIED});
  open_run.Bind(2, std::int64_t{v1::Run::QUEUED});
  open_run.Bind(3, std::int64_t{v1::Run::ASSIGNED});
  open_run.Bind(4, std::int64_t{v1::Run::RUNNING});
  open_run.Bind(5, deletion.device_id);
  BALLAST_ASSIGN_OR_RETURN(const bool has_open_run, open_run.Step());
  if (has_open_run) {
    return absl::FailedPreconditionError(fmt::format(
        "remove device {}: its run {} has not ended; cancel it or wait for it", deletion.device_id, open_run.Text(0)));
  }
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached("DELETE FROM devices WHERE device_id = ?1"));
  statement.Bind(1, deletion.device_id);
  return base::WithContext(statement.Run(), fmt::format("remove device {}", deletion.device_id));
}

absl::Status ApplyMutation(Connection* connection, const PutReservation& put) {
  const v1::Reservation& reservation = put.reservation;
  BALLAST_RETURN_IF_ERROR(CheckIdentifier("reservation", reservation.reservation_id()));
  const std::string message = reservation.SerializeAsString();
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      INSERT INTO reservations (reservation_id, message) VALUES (?1, ?2)
      ON CONFLICT (reservation_id) DO UPDATE SET message = excluded.message)sql"));
  statement.Bind(1, reservation.reservation_id());
  statement.BindBlob(2, message);
  return base::WithContext(statement.Run(), fmt::format("store reservation {}", reservation.reservation_id()));
}

absl::Status ApplyMutation(Connection* connection, const DeleteReservation& deletion) {
  return base::WithContext(
      DeleteRows(connection, "DELETE FROM reservations WHERE reservation_id = ?1", deletion.reservation_id),
      fmt::format("remove reservation {}", deletion.reservation_id));
}

absl::Status ApplyMutation(Connection* connection, const PutSchedule& put) {
  const v1::Schedule& schedule = put.schedule;
  BALLAST_RETURN_IF_ERROR(CheckIdentifier("schedule", schedule.schedule_id()));
  const std::string message = schedule.SerializeAsString();
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      INSERT INTO schedules (schedule_id, message) VALUES (?1, ?2)
      ON CONFLICT (schedule_id) DO UPDATE SET message = excluded.message)sql"));
  statement.Bind(1, schedule.schedule_id());
  statement.BindBlob(2, message);
  return base::WithContext(statement.Run(), fmt::format("store schedule {}", schedule.schedule_id()));
}

absl::Status ApplyMutation(Connection* connection, const DeleteSchedule& deletion) {
  return base::WithContext(DeleteRows(connection, "DELETE FROM schedules WHERE schedule_id = ?1", deletion.schedule_id),
                           fmt::format("remove schedule {}", deletion.schedule_id));
}

// Merges one summary, of the chunk with this seq: what metrics::MergeSummary makes of the chunks in order, but in the
// database and in any order.
absl::Status MergeRollup(Connection* connection, const PutChunk& put, std::int64_t seq,
                         const v1::MetricSummary& summary) {
  if (summary.count() == 0) return absl::OkStatus();
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t count, ToColumn(summary.count()));
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      INSERT INTO rollups (run_id, attempt, metric_id, value_count, min_value, max_value, first_value, last_value, value_sum,
        first_seq, last_seq)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)
      ON CONFLICT (run_id, attempt, metric_id) DO UPDATE SET
        value_count = value_count + excluded.value_count,
        min_value = min(min_value, excluded.min_value),
        max_value = max(max_value, excluded.max_value),
        first_value = iif(excluded.first_seq < first_seq, excluded.first_value, first_value),
        last_value = iif(excluded.last_seq > last_seq, excluded.last_value, last_value),
        value_sum = value_sum + excluded.value_sum,
        first_seq = min(first_seq, excluded.first_seq),
        last_seq = max(last_seq, excluded.last_seq))sql"));
  statement.Bind(1, put.run_id);
  statement.Bind(2, std::int64_t{put.attempt});
  statement.Bind(3, std::int64_t{summary.metric_id()});
  statement.Bind(4, count);
  statement.Bind(5, std::int64_t{summary.min()});
  statement.Bind(6, std::int64_t{summary.max()});
  statement.Bind(7, std::int64_t{summary.first()});
  statement.Bind(8, std::int64_t{summary.last()});
  statement.Bind(9, summary.sum());
  statement.Bind(10, seq);
  return statement.Run();
}

absl::Status StoreChunk(Connection* connection, const PutChunk& put) {
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t seq, ToColumn(put.seq));
  BALLAST_ASSIGN_OR_RETURN(const bool thinned, IsThinned(connection, put.run_id, put.attempt, seq));
  if (thinned) return absl::OkStatus();
  const std::string message = put.chunk.SerializeAsString();
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      INSERT INTO chunks (run_id, attempt, seq, event_count, message) VALUES (?1, ?2, ?3, ?4, ?5)
      ON CONFLICT (run_id, attempt, seq) DO NOTHING)sql"));
  statement.Bind(1, put.run_id);
  statement.Bind(2, std::int64_t{put.attempt});
  statement.Bind(3, seq);
  statement.Bind(4, std::int64_t{put.chunk.header().event_count()});
  statement.BindBlob(5, message);
  const absl::Status status = statement.Run();
  if (status.code() == absl::StatusCode::kFailedPrecondition) {  // the foreign key: cheaper than to look first
    return absl::FailedPreconditionError(fmt::format("run {} does not exist", put.run_id));
  }
  BALLAST_RETURN_IF_ERROR(status);
  if (connection->changes() == 0) return absl::OkStatus();  // it is there already, and so is its part of the rollups
  for (const v1::MetricSummary& summary : put.chunk.header().summaries()) {
    BALLAST_RETURN_IF_ERROR(MergeRollup(connection, put, seq, summary));
  }
  return NoteWholeSamples(connection, put.run_id);
}

absl::Status ApplyMutation(Connection* connection, const PutChunk& put) {
  const absl::Status status = StoreChunk(connection, put);
  if (status.ok()) return status;
  return base::WithContext(status,
                           fmt::format("store chunk {} of run {}, attempt {}", put.seq, put.run_id, put.attempt));
}

absl::Status ApplyMutation(Connection* connection, const PutCertificate& put) {
  return StoreCertificate(connection, put.certificate);
}

absl::Status ApplyMutation(Connection* connection, const PutNameRevocation& put) {
  return StoreNameRevocation(connection, put.revocation);
}

absl::Status ApplyMutation(Connection* connection, const AppendAudit& append) {
  return Append(connection, append);
}

absl::Status ApplyMutation(Connection* connection, const DeleteAuditBefore& deletion) {
  return Delete(connection, deletion);
}

}  // namespace

absl::Status Apply(Connection* connection, const Mutation& mutation) {
  return std::visit([connection](const auto& content) -> absl::Status { return ApplyMutation(connection, content); },
                    mutation);
}

}  // namespace ballast::storage
