#include "storage/sqlite/migrations.h"

#include <fmt/format.h>

#include <array>

#include "common/base/status.h"

namespace ballast::storage {
namespace {

// Published steps are never edited. Messages are kept whole, in `message`; the other columns repeat what queries need.
// Times are nanoseconds since 1970. The blob is the last column, so that a scan of the others does not read it.
constexpr const char* kStep1 = R"sql(
CREATE TABLE jobs (
  job_id TEXT NOT NULL PRIMARY KEY,
  create_time_ns INTEGER NOT NULL,
  state INTEGER NOT NULL,
  request_id TEXT NOT NULL,
  message BLOB NOT NULL
) STRICT;
CREATE INDEX jobs_by_time ON jobs (create_time_ns, job_id);
CREATE INDEX jobs_by_state ON jobs (state, create_time_ns, job_id);
CREATE UNIQUE INDEX jobs_by_request ON jobs (request_id) WHERE request_id <> '';

CREATE TABLE devices (
  device_id TEXT NOT NULL PRIMARY KEY,
  message BLOB NOT NULL
) STRICT;

CREATE TABLE device_labels (
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  device_id TEXT NOT NULL REFERENCES devices (device_id) ON DELETE CASCADE,
  PRIMARY KEY (name, value, device_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_labels_by_device ON device_labels (device_id);

-- No foreign key to devices: a run outlives the device it ran on.
CREATE TABLE runs (
  run_id TEXT NOT NULL PRIMARY KEY,
  job_id TEXT NOT NULL REFERENCES jobs (job_id),
  device_id TEXT NOT NULL,
  create_time_ns INTEGER NOT NULL,
  state INTEGER NOT NULL,
  outcome INTEGER NOT NULL,
  workload_kind TEXT NOT NULL,
  message BLOB NOT NULL
) STRICT;
-- Each ends in the other columns that a list can ask for, so that rows that do not match are passed over in the index.
CREATE INDEX runs_by_time ON runs (create_time_ns, run_id, state, outcome, device_id, workload_kind);
CREATE INDEX runs_by_job ON runs (job_id, create_time_ns, run_id);
CREATE INDEX runs_by_device ON runs (device_id, create_time_ns, run_id, state, outcome, workload_kind);
CREATE INDEX runs_by_state ON runs (state, create_time_ns, run_id, outcome, device_id, workload_kind);
CREATE INDEX runs_by_outcome ON runs (outcome, create_time_ns, run_id, state, device_id, workload_kind);
CREATE INDEX runs_by_kind ON runs (workload_kind, create_time_ns, run_id, state, outcome, device_id);

CREATE TABLE run_annotations (
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  create_time_ns INTEGER NOT NULL,
  run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
  PRIMARY KEY (name, value, create_time_ns, run_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_annotations_by_run ON run_annotations (run_id);

-- With a rowid, so that chunks are appended in the order they come, each into pages of its own: clustered by run they took
-- twice the space and half the speed.
CREATE TABLE chunks (
  run_id TEXT NOT NULL REFERENCES runs (run_id),
  attempt INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  event_count INTEGER NOT NULL,
  message BLOB NOT NULL,
  PRIMARY KEY (run_id, attempt, seq)
) STRICT;
CREATE INDEX chunks_with_events ON chunks (run_id, attempt, seq) WHERE event_count > 0;

CREATE TABLE rollups (
  run_id TEXT NOT NULL REFERENCES runs (run_id),
  attempt INTEGER NOT NULL,
  metric_id INTEGER NOT NULL,
  value_count INTEGER NOT NULL,
  min_value INTEGER NOT NULL,
  max_value INTEGER NOT NULL,
  first_value INTEGER NOT NULL,
  last_value INTEGER NOT NULL,
  value_sum REAL NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  PRIMARY KEY (run_id, attempt, metric_id)
) STRICT, WITHOUT ROWID;
)sql";

// Who may come in. Programs of version 1 know nothing of these tables and leave them alone.
constexpr const char* kStep2 = R"sql(
CREATE TABLE certificates (
  serial TEXT NOT NULL PRIMARY KEY,
  create_time_ns INTEGER NOT NULL,
  role INTEGER NOT NULL,
  name TEXT NOT NULL,
  revoked INTEGER NOT NULL,
  token_id TEXT NOT NULL,
  message BLOB NOT NULL
) STRICT;
CREATE INDEX certificates_by_time ON certificates (create_time_ns, serial, role);
CREATE INDEX certificates_by_name ON certificates (name, create_time_ns, serial, role);
CREATE INDEX certificates_revoked ON certificates (serial) WHERE revoked = 1;
-- What makes a join token good for one certificate.
CREATE UNIQUE INDEX certificates_by_token ON certificates (token_id) WHERE token_id <> '';

-- What they did.
CREATE TABLE audit_entries (
  entry_id INTEGER PRIMARY KEY AUTOINCREMENT,
  time_ns INTEGER NOT NULL,
  name TEXT NOT NULL,
  message BLOB NOT NULL
) STRICT;
CREATE INDEX audit_entries_by_name ON audit_entries (name, entry_id);
)sql";

// Plans. A program that does not know them would neither keep a reservation nor submit what is scheduled, and could not
// read a run that has no device yet.
constexpr const char* kStep3 = R"sql(
CREATE TABLE reservations (
  reservation_id TEXT NOT NULL PRIMARY KEY,
  message BLOB NOT NULL
) STRICT;

CREATE TABLE schedules (
  schedule_id TEXT NOT NULL PRIMARY KEY,
  message BLOB NOT NULL
) STRICT;
)sql";

// Retention. Where a run's samples were thinned, `samples_thinned_ns` says when; `samples_whole` is 1 where retention
// has not looked at them yet, or something came since. A row of thinned_chunks stands for all chunks from first_seq to
// last_seq: programs that do not know it would take one of them that comes again for new.
constexpr const char* kStep4 = R"sql(
ALTER TABLE runs ADD COLUMN samples_thinned_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN samples_whole INTEGER NOT NULL DEFAULT 1;
CREATE INDEX runs_to_thin ON runs (create_time_ns, run_id) WHERE samples_whole = 1;
CREATE INDEX runs_thinned ON runs (run_id) WHERE samples_whole = 0;

CREATE TABLE thinned_chunks (
  run_id TEXT NOT NULL REFERENCES runs (run_id),
  attempt INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  event_count INTEGER NOT NULL,
  summary BLOB NOT NULL,
  events BLOB NOT NULL,
  PRIMARY KEY (run_id, attempt, first_seq)
) STRICT;
CREATE INDEX thinned_chunks_with_events ON thinned_chunks (run_id, attempt, first_seq) WHERE event_count > 0;
)sql";

// Names of which certificates are refused. A program that does not know them would let such certificates in.
constexpr const char* kStep5 = R"sql(
CREATE TABLE name_revocations (
  name TEXT NOT NULL,
  role INTEGER NOT NULL,
  revoke_time_ns INTEGER NOT NULL,
  message BLOB NOT NULL,
  PRIMARY KEY (name, role)
) STRICT, WITHOUT ROWID;
)sql";

constexpr std::array kMigrations = {
    Migration{.version = 1, .oldest_compatible_version = 1, .sql = kStep1},
    Migration{.version = 2, .oldest_compatible_version = 1, .sql = kStep2},
    Migration{.version = 3, .oldest_compatible_version = 3, .sql = kStep3},
    Migration{.version = 4, .oldest_compatible_version = 4, .sql = kStep4},
    Migration{.version = 5, .oldest_compatible_version = 5, .sql = kStep5},
};

struct Version {
  std::int64_t current = 0;
  std::int64_t oldest_compatible = 0;
};

// The versions that the database says of itself; zeros in an empty one. FAILED_PRECONDITION where it is not ours.
absl::StatusOr<Version> ReadVersion(Connection* connection) {
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t application_id, connection->QueryInt64("PRAGMA application_id"));
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t table_count,
                           connection->QueryInt64("SELECT count(*) FROM sqlite_schema"));
  if (application_id == 0 && table_count == 0) return Version{};
  if (application_id != kApplicationId) {
    return absl::FailedPreconditionError(fmt::format(
        "database {}: it belongs to another program (application id {:#010x}); choose another data directory",
        connection->file(), application_id));
  }
  const absl::Status missing = absl::DataLossError(
      fmt::format("database {}: its schema version is missing; restore a copy of the file", connection->file()));
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t has_table,
                           connection->QueryInt64("SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'"));
  if (has_table == 0) return missing;
  BALLAST_ASSIGN_OR_RETURN(
      Statement statement,
      connection->Prepare(
          "SELECT version, oldest_compatible_version FROM schema_version ORDER BY version DESC LIMIT 1"));
  BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  if (!has_row) return missing;
  return Version{.current = statement.Int64(0), .oldest_compatible = statement.Int64(1)};
}

absl::Status ApplyStep(Connection* connection, const Migration& migration) {
  BALLAST_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection, Transaction::Kind::kWrite));
  BALLAST_RETURN_IF_ERROR(connection->Execute(
      fmt::format("PRAGMA application_id = {};"
                  "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL, oldest_compatible_version "
                  "INTEGER NOT NULL) STRICT;"
                  "DELETE FROM schema_version;"
                  "INSERT INTO schema_version (version, oldest_compatible_version) VALUES ({}, {});",
                  kApplicationId, migration.version, migration.oldest_compatible_version)));
  BALLAST_RETURN_IF_ERROR(connection->Execute(migration.sql));
  {
    BALLAST_ASSIGN_OR_RETURN(Statement check, connection->Prepare("PRAGMA foreign_key_check"));
    BALLAST_ASSIGN_OR_RETURN(const bool has_orphan, check.Step());
    if (has_orphan) {
      return absl::DataLossError(
          fmt::format("database {}: table {} has rows that refer to nothing; restore a copy of the file",
                      connection->file(), check.Text(0)));
    }
  }
  return transaction.Commit();
}

}  // namespace

std::span<const Migration> Migrations() {
  return kMigrations;
}

absl::Status CheckDatabase(Connection* connection, std::span<const Migration> migrations) {
  BALLAST_ASSIGN_OR_RETURN(const Version version, ReadVersion(connection));
  const int ours = migrations.back().version;
  if (version.current > ours && version.oldest_compatible > ours) {
    return absl::FailedPreconditionError(
        fmt::format("database {}: its schema is version {}, this program knows versions up to {}; install a newer "
                    "ballast-coordinator "
                    "(one for schema version {} at least), or choose another data directory",
                    connection->file(), version.current, ours, version.oldest_compatible));
  }
  return absl::OkStatus();
}

absl::Status Migrate(Connection* connection, std::span<const Migration> migrations) {
  BALLAST_ASSIGN_OR_RETURN(const Version version, ReadVersion(connection));
  for (const Migration& migration : migrations) {
    if (migration.version <= version.current) continue;
    BALLAST_RETURN_IF_ERROR(base::WithContext(
        ApplyStep(connection, migration), fmt::format("bring database {} from schema version {} to {}",
                                                      connection->file(), migration.version - 1, migration.version)));
  }
  return absl::OkStatus();
}

}  // namespace ballast::storage
