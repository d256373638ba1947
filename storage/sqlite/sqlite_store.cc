#include "storage/sqlite/sqlite_store.h"

#include <fmt/format.h>

#include <utility>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "storage/sqlite/audit.h"
#include "storage/sqlite/certificates.h"
#include "storage/sqlite/connection.h"
#include "storage/sqlite/database_lock.h"
#include "storage/sqlite/lists.h"
#include "storage/sqlite/migrations.h"
#include "storage/sqlite/queries.h"
#include "storage/sqlite/reader_pool.h"
#include "storage/sqlite/sqlite_status.h"
#include "storage/sqlite/writer.h"

namespace ballast::storage {
namespace {

constexpr int kReaderCount = 4;
// How much of an attempt is read at a time: no connection is kept while `visit` is at work.
constexpr std::size_t kChunkReadBytes = 1U << 20U;
constexpr std::size_t kSummariesAtATime = 256;

class SqliteStore final : public Store {
 public:
  SqliteStore(base::Fd lock, Connection connection, std::unique_ptr<ReaderPool> readers)
      : lock_(std::move(lock)), writer_(std::move(connection)), readers_(std::move(readers)) {}

  // The callbacks of what is still queued may read; and the writing connection must be the last to close, as only it
  // can move the write-ahead log into the database.
  ~SqliteStore() override { writer_.Close(); }

  void Write(WriteBatch batch, std::function<void(absl::Status)> done) override {
    writer_.Write(std::move(batch), std::move(done));
  }

  absl::StatusOr<OpenState> LoadOpenState() override { return Read(storage::LoadOpenState); }

  absl::StatusOr<v1::Job> GetJob(std::string_view job_id) override { return Read(storage::GetJob, job_id); }

  absl::StatusOr<v1::Job> FindJobByRequestId(std::string_view request_id) override {
    return Read(storage::FindJobByRequestId, request_id);
  }

  absl::StatusOr<std::string> GreatestJobId() override { return Read(storage::GreatestJobId); }

  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request) override {
    return Read(storage::ListJobs, request);
  }

  absl::StatusOr<v1::Run> GetRun(std::string_view run_id) override { return Read(storage::GetRun, run_id); }

  absl::StatusOr<v1::ListRunsResponse> ListRuns(const v1::ListRunsRequest& request) override {
    return Read(storage::ListRuns, request);
  }

  absl::StatusOr<std::vector<v1::Run>> RunsOfJob(std::string_view job_id) override {
    return Read(storage::RunsOfJob, job_id);
  }

  absl::StatusOr<v1::Device> GetDevice(std::string_view device_id) override {
    return Read(storage::GetDevice, device_id);
  }

  absl::StatusOr<v1::ListDevicesResponse> ListDevices(const v1::ListDevicesRequest& request) override {
    return Read(storage::ListDevices, request);
  }

  absl::Status ReadChunks(std::string_view run_id, std::uint32_t attempt,
                          const std::function<absl::Status(std::uint64_t seq, const v1::Chunk&)>& visit) override {
    return VisitChunks(run_id, attempt, WhichChunks::kAll, visit);
  }

  absl::Status ReadChunksWithEvents(
      std::string_view run_id, std::uint32_t attempt,
      const std::function<absl::Status(std::uint64_t seq, const v1::Chunk&)>& visit) override {
    return VisitChunks(run_id, attempt, WhichChunks::kWithEvents, visit);
  }

  absl::Status ReadWholeChunks(std::string_view run_id, std::uint32_t attempt,
                               const std::function<absl::Status(std::uint64_t seq, const v1::Chunk&)>& visit) override {
    return VisitChunks(run_id, attempt, WhichChunks::kWhole, visit);
  }

  absl::Status ReadSummaries(
      std::string_view run_id, std::uint32_t attempt,
      const std::function<absl::Status(std::uint64_t last_seq, const v1::ChunkHeader&)>& visit) override {
    std::int64_t after = -1;
    while (true) {
      BALLAST_ASSIGN_OR_RETURN(const auto summaries,
                               Read(ReadSummariesAfter, run_id, attempt, after, kSummariesAtATime));
      if (summaries.empty()) return absl::OkStatus();
      for (const auto& [last_seq, summary] : summaries) {
        BALLAST_RETURN_IF_ERROR(visit(static_cast<std::uint64_t>(last_seq), summary));
        after = last_seq;
      }
    }
  }

  absl::StatusOr<std::vector<std::uint64_t>> ChunkPositions(std::string_view run_id, std::uint32_t attempt) override {
    return Read(storage::ChunkPositions, run_id, attempt);
  }

  absl::StatusOr<std::vector<v1::Run>> RunsToThin(const CreationKey& after, base::SystemTime created_before,
                                                  std::size_t limit) override {
    return Read(storage::RunsToThin, after, created_before, limit);
  }

  absl::StatusOr<std::vector<v1::Job>> JobsCreatedBefore(const CreationKey& after, base::SystemTime created_before,
                                                         std::size_t limit) override {
    return Read(storage::JobsCreatedBefore, after, created_before, limit);
  }

  absl::StatusOr<SpaceUse> GetSpaceUse() override { return Read(storage::GetSpaceUse); }

  absl::StatusOr<std::vector<v1::MetricSummary>> GetRollups(std::string_view run_id, std::uint32_t attempt) override {
    return Read(storage::GetRollups, run_id, attempt);
  }

  absl::StatusOr<v1::Certificate> GetCertificate(std::string_view serial) override {
    return Read(storage::GetCertificate, serial);
  }

  absl::StatusOr<v1::ListCertificatesResponse> ListCertificates(const v1::ListCertificatesRequest& request) override {
    return Read(storage::ListCertificates, request);
  }

  absl::StatusOr<std::vector<v1::Certificate>> RevokedCertificates() override {
    return Read(storage::RevokedCertificates);
  }

  absl::StatusOr<std::vector<v1::NameRevocation>> NameRevocations() override { return Read(storage::NameRevocations); }

  absl::StatusOr<v1::ListAuditEntriesResponse> ListAuditEntries(const v1::ListAuditEntriesRequest& request) override {
    return Read(storage::ListAuditEntries, request);
  }

 private:
  // Carries out a query on a connection that is lent for it.
  template <typename Result, typename... Parameters, typename... Arguments>
  Result Read(Result (*query)(Connection*, Parameters...), const Arguments&... arguments) {
    Result result = query(readers_->Checkout().get(), arguments...);
    if (result.ok()) return result;
    return AfterOpening(result.status());
  }

  absl::Status VisitChunks(std::string_view run_id, std::uint32_t attempt, WhichChunks which,
                           const std::function<absl::Status(std::uint64_t seq, const v1::Chunk&)>& visit) {
    std::int64_t after = -1;
    while (true) {
      BALLAST_ASSIGN_OR_RETURN(const auto chunks,
                               Read(ReadChunksAfter, run_id, attempt, after, kChunkReadBytes, which));
      if (chunks.empty()) return absl::OkStatus();
      for (const auto& [seq, chunk] : chunks) {
        BALLAST_RETURN_IF_ERROR(visit(static_cast<std::uint64_t>(seq), chunk));
        after = seq;
      }
    }
  }

  // Destroyed in the opposite order: readers, then the writer's connection, then the lock.
  base::Fd lock_;
  Writer writer_;
  std::unique_ptr<ReaderPool> readers_;
};

absl::Status PrepareDatabase(Connection* connection, std::span<const Migration> migrations) {
  BALLAST_RETURN_IF_ERROR(connection->Execute("PRAGMA cell_size_check = ON"));
  // Nothing is written before the file is known to be ours.
  BALLAST_RETURN_IF_ERROR(CheckDatabase(connection, migrations));
  // Takes effect in a database that is still empty, and in no other: those get it by `compact`.
  BALLAST_RETURN_IF_ERROR(connection->Execute("PRAGMA auto_vacuum = INCREMENTAL"));
  BALLAST_RETURN_IF_ERROR(
      connection->Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;"
                          "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384"));
  BALLAST_RETURN_IF_ERROR(Migrate(connection, migrations));
  return connection->Execute("PRAGMA foreign_keys = ON");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::filesystem::path& file) {
  return OpenSqliteStore(file, Migrations());
}

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::filesystem::path& file,
                                                       std::span<const Migration> migrations) {
  const std::filesystem::path directory = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  BALLAST_RETURN_IF_ERROR(base::WithContext(base::EnsureWritableDirectory(directory, base::kPrivateDirectoryMode),
                                            fmt::format("open database {}", file.string())));
  BALLAST_ASSIGN_OR_RETURN(base::Fd lock, LockDatabase(file));
  BALLAST_ASSIGN_OR_RETURN(Connection connection, Connection::Open(file, Connection::Mode::kReadWrite));
  BALLAST_RETURN_IF_ERROR(PrepareDatabase(&connection, migrations));
  BALLAST_RETURN_IF_ERROR(base::SyncDirectory(directory));
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<ReaderPool> readers, ReaderPool::Open(file, kReaderCount));
  return std::make_unique<SqliteStore>(std::move(lock), std::move(connection), std::move(readers));
}

}  // namespace ballast::storage
