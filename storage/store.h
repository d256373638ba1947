// Where everything is kept. An interface: storage/sqlite implements it, and nothing above knows how.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/admin_service.pb.h"
#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/planning.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/security.pb.h"
#include "ballast/v1/telemetry.pb.h"
#include "common/base/clock.h"

namespace ballast::storage {

// Inserts or replaces the job with this job_id. ALREADY_EXISTS where another job has its request_id.
struct PutJob {
  v1::Job job;
};
// Inserts or replaces the run with this run_id. Its job and device must exist; a run that has not got a device yet, or
// ended without one, names none.
struct PutRun {
  v1::Run run;
};
// Inserts or replaces the device with this device_id.
struct PutDevice {
  v1::Device device;
};
// Forgets a device. Its runs stay. Nothing happens where it does not exist; FAILED_PRECONDITION where it has a run that
// has not ended.
struct DeleteDevice {
  std::string device_id;
};
// Adds a chunk and merges its summaries into the attempt's rollups: `first` is that of the lowest seq, `last` that of
// the highest, in whatever order they come. Nothing at all happens where (run_id, attempt, seq) is there already. The
// run must exist. The chunk's body is kept as it is, unread.
struct PutChunk {
  std::string run_id;
  std::uint32_t attempt = 0;
  std::uint64_t seq = 0;
  v1::Chunk chunk;
};
// Inserts or replaces the certificate with this serial number. ALREADY_EXISTS where another was issued for its
// token_id.
struct PutCertificate {
  v1::Certificate certificate;
};
// Inserts or replaces what is refused of this role and name: the last one stays, whatever its time, as clocks are set.
struct PutNameRevocation {
  v1::NameRevocation revocation;
};

// Inserts or replaces the reservation with this reservation_id.
struct PutReservation {
  v1::Reservation reservation;
};
// Forgets a reservation. Nothing happens where it does not exist.
struct DeleteReservation {
  std::string reservation_id;
};
// Inserts or replaces the schedule with this schedule_id.
struct PutSchedule {
  v1::Schedule schedule;
};
// Forgets a schedule; its jobs stay. Nothing happens where it does not exist.
struct DeleteSchedule {
  std::string schedule_id;
};

// Puts one summary in the place of an attempt's chunks from `first_seq` to `last_seq`, and of their bodies what belongs
// to their events. All of these chunks must be there and whole, and the run must have ended. Rollups stay as they are,
// and so does what counts as taken: a chunk that comes again within these bounds is ignored.
struct ThinChunks {
  std::string run_id;
  std::uint32_t attempt = 0;
  std::uint64_t first_seq = 0;
  std::uint64_t last_seq = 0;
  v1::ChunkHeader summary;          // over all of them, in the words of one chunk's header
  std::optional<v1::Chunk> events;  // absent where they have no events
};
// Notes in a run that has ended how far thinning it is. Nothing happens where it does not exist.
struct MarkThinned {
  std::string run_id;
  // Becomes Run.samples_thinned_time where the run has none yet, now and whenever it is put again. Absent: nothing was
  // thinned.
  std::optional<base::SystemTime> time;
  // RunsToThin leaves it out until it gets another chunk.
  bool done = false;
};
// Deletes an attempt's chunks from `first_seq` to `last_seq`, whole or thinned, so that deleting the run is short. The
// run must have ended.
struct DeleteChunks {
  std::string run_id;
  std::uint32_t attempt = 0;
  std::uint64_t first_seq = 0;
  std::uint64_t last_seq = 0;
};
// Deletes a run with all that belongs to it. Nothing happens where it does not exist; FAILED_PRECONDITION where it has
// not ended.
struct DeleteRun {
  std::string run_id;
};
// Deletes a job, whose request_id is free afterwards. Nothing happens where it does not exist; FAILED_PRECONDITION
// where it has not ended or has runs.
struct DeleteJob {
  std::string job_id;
};
// Gives so much of the space that deletions left back to the file system, as far as the database can (SpaceUse).
struct ReleaseSpace {
  std::uint64_t max_bytes = 0;
};

// Adds an entry to the audit log, with the next entry_id; the one in the message is ignored.
struct AppendAudit {
  v1::AuditEntry entry;
};
// Removes the entries of the audit log that are older than `time`, from the first on: those before the first that is
// not older.
struct DeleteAuditBefore {
  google::protobuf::Timestamp time;
};

using Mutation = std::variant<PutJob, PutRun, PutDevice, DeleteDevice, PutChunk, PutReservation, DeleteReservation,
                              PutSchedule, DeleteSchedule, ThinChunks, MarkThinned, DeleteChunks, DeleteRun, DeleteJob,
                              ReleaseSpace, PutCertificate, PutNameRevocation, AppendAudit, DeleteAuditBefore>;
using WriteBatch = std::vector<Mutation>;

// What the coordinator needs to go on where it stopped.
struct OpenState {
  std::vector<v1::Job> jobs;  // those that have not ended, in order of creation
  std::vector<v1::Run> runs;  // all runs of those jobs, ended ones too, ordered by run number
  std::vector<v1::Device> devices;
  std::vector<v1::Reservation> reservations;  // all of them, ordered by identifier
  std::vector<v1::Schedule> schedules;        // likewise
};

// Where a list in order of creation goes on: behind what was created then and has this identifier.
struct CreationKey {
  base::SystemTime create_time = base::SystemTime::min();
  std::string id;
};

// What the database takes of the disk.
struct SpaceUse {
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;  // of these, left by deletions; used for what comes next
  bool can_release = false;      // whether ReleaseSpace can give them back while the database is open
};

// Durable storage. All methods are thread-safe. Reads see everything whose write has been reported done. Codes that any
// method may return beside its own: UNAVAILABLE (busy, out of disk space, or the files may no longer be used: nothing
// was changed, try again), DATA_LOSS (the database is damaged), INTERNAL.
class Store {
 public:
  virtual ~Store() = default;
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Queues a batch: all of it is committed to disk, or nothing. Batches are committed in the order of the calls, many
  // of them in one transaction. `done` runs on the writer's thread once the fate of the batch is known (OK: it survives
  // a power cut); it must not block or call Write and wait. FAILED_PRECONDITION in `done` where a mutation names a job,
  // run or device that does not exist, INVALID_ARGUMENT where it cannot be kept (no identifier, a number of 2^63 or
  // more); other batches are not affected. The destructor carries out what is queued, and runs its `done`, before it
  // returns.
  virtual void Write(WriteBatch batch, std::function<void(absl::Status)> done) = 0;

  // Write and wait for `done`. Never from within `done`.
  [[nodiscard]] absl::Status WriteAndWait(WriteBatch batch);

  [[nodiscard]] virtual absl::StatusOr<OpenState> LoadOpenState() = 0;

  // NOT_FOUND.
  [[nodiscard]] virtual absl::StatusOr<v1::Job> GetJob(std::string_view job_id) = 0;
  // The job that was submitted with this request_id. NOT_FOUND.
  [[nodiscard]] virtual absl::StatusOr<v1::Job> FindJobByRequestId(std::string_view request_id) = 0;
  // The identifier that sorts after all others, in bytes, whatever the state and the time of its job; empty where there
  // are no jobs.
  [[nodiscard]] virtual absl::StatusOr<std::string> GreatestJobId() = 0;
  // Latest first (by create_time, then by identifier). Pages: 50 where page_size is 0, 1000 at most, and no more than
  // about 8 MiB (but one message at least): only the token tells whether another page follows. INVALID_ARGUMENT for a
  // negative page_size, and for a page token that is not one, or not one of a list with the same conditions.
  [[nodiscard]] virtual absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request) = 0;

  // NOT_FOUND.
  [[nodiscard]] virtual absl::StatusOr<v1::Run> GetRun(std::string_view run_id) = 0;
  // Latest first. Pages as in ListJobs. INVALID_ARGUMENT for more than 10,000 values in the filter's conditions, or
  // more than 64 labels and annotations.
  [[nodiscard]] virtual absl::StatusOr<v1::ListRunsResponse> ListRuns(const v1::ListRunsRequest& request) = 0;
  // Every run of a job, ordered by run number. Empty where the job does not exist.
  [[nodiscard]] virtual absl::StatusOr<std::vector<v1::Run>> RunsOfJob(std::string_view job_id) = 0;

  // NOT_FOUND.
  [[nodiscard]] virtual absl::StatusOr<v1::Device> GetDevice(std::string_view device_id) = 0;
  // Ordered by device_id. Pages as in ListJobs.
  [[nodiscard]] virtual absl::StatusOr<v1::ListDevicesResponse> ListDevices(const v1::ListDevicesRequest& request) = 0;

  // Calls `visit` with each chunk of an attempt in order of seq, stopping at its first error, which is returned. Of
  // those that were thinned (ThinChunks) what is left: their events, and the sample before each.
  // `visit` may take its time and may call the store.
  [[nodiscard]] virtual absl::Status ReadChunks(
      std::string_view run_id, std::uint32_t attempt,
      const std::function<absl::Status(std::uint64_t seq, const v1::Chunk&)>& visit) = 0;

  // The same for only those chunks that have events, without reading the others: few of a long attempt's chunks have.
  [[nodiscard]] virtual absl::Status ReadChunksWithEvents(
      std::string_view run_id, std::uint32_t attempt,
      const std::function<absl::Status(std::uint64_t seq, const v1::Chunk&)>& visit) = 0;

  // The same for only those chunks that were not thinned.
  [[nodiscard]] virtual absl::Status ReadWholeChunks(
      std::string_view run_id, std::uint32_t attempt,
      const std::function<absl::Status(std::uint64_t seq, const v1::Chunk&)>& visit) = 0;

  // The summaries of an attempt's thinned chunks, in order; `last_seq` is that of the last chunk it stands for.
  [[nodiscard]] virtual absl::Status ReadSummaries(
      std::string_view run_id, std::uint32_t attempt,
      const std::function<absl::Status(std::uint64_t last_seq, const v1::ChunkHeader&)>& visit) = 0;

  // The positions of all chunks of an attempt, in order; of those that were thinned the first of each stretch.
  [[nodiscard]] virtual absl::StatusOr<std::vector<std::uint64_t>> ChunkPositions(std::string_view run_id,
                                                                                  std::uint32_t attempt) = 0;

  // Runs with samples that may have to be thinned, in order of creation: those behind `after` that were created before
  // a time, `limit` at most. Whether they have ended is for the caller to see.
  [[nodiscard]] virtual absl::StatusOr<std::vector<v1::Run>> RunsToThin(const CreationKey& after,
                                                                        base::SystemTime created_before,
                                                                        std::size_t limit) = 0;
  // Jobs in order of creation, likewise.
  [[nodiscard]] virtual absl::StatusOr<std::vector<v1::Job>> JobsCreatedBefore(const CreationKey& after,
                                                                               base::SystemTime created_before,
                                                                               std::size_t limit) = 0;

  [[nodiscard]] virtual absl::StatusOr<SpaceUse> GetSpaceUse() = 0;

  // Summaries over all chunks of an attempt, ordered by metric_id. Empty where there are none.
  [[nodiscard]] virtual absl::StatusOr<std::vector<v1::MetricSummary>> GetRollups(std::string_view run_id,
                                                                                  std::uint32_t attempt) = 0;

  // NOT_FOUND.
  [[nodiscard]] virtual absl::StatusOr<v1::Certificate> GetCertificate(std::string_view serial) = 0;
  // Latest first (by create_time, then by serial number). Pages as in ListJobs.
  [[nodiscard]] virtual absl::StatusOr<v1::ListCertificatesResponse> ListCertificates(
      const v1::ListCertificatesRequest& request) = 0;
  // Every certificate that was revoked, by serial number.
  [[nodiscard]] virtual absl::StatusOr<std::vector<v1::Certificate>> RevokedCertificates() = 0;
  // Every name of which certificates are refused, by name, then by role.
  [[nodiscard]] virtual absl::StatusOr<std::vector<v1::NameRevocation>> NameRevocations() = 0;
  // The audit log, latest first. Pages as in ListJobs.
  [[nodiscard]] virtual absl::StatusOr<v1::ListAuditEntriesResponse> ListAuditEntries(
      const v1::ListAuditEntriesRequest& request) = 0;
};

}  // namespace ballast::storage
