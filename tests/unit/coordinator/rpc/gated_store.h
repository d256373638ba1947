// A store before a real one, whose writes can be held back or made to fail.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "storage/store.h"

namespace ballast::coordinator {

// Everything goes to `base`, which must outlive it. Thread-safe.
class GatedStore final : public storage::Store {
 public:
  explicit GatedStore(storage::Store* base) : base_(base) {}
  ~GatedStore() override { Open(); }

  // From now on writes wait.
  void Close();
  // Waits until a write waits.
  void AwaitWrite();
  // Lets the waiting writes through, and all later ones.
  void Open();
  // Writes fail with `status` until they are told otherwise (OK). Those that wait fail too.
  void FailWrites(absl::Status status);
  // Waits until that many writes have failed since the start.
  void AwaitFailures(int count);

  void Write(storage::WriteBatch batch, std::function<void(absl::Status)> done) override;
  absl::StatusOr<storage::OpenState> LoadOpenState() override { return base_->LoadOpenState(); }
  absl::StatusOr<v1::Job> GetJob(std::string_view job_id) override { return base_->GetJob(job_id); }
  absl::StatusOr<v1::Job> FindJobByRequestId(std::string_view request_id) override {
    return base_->FindJobByRequestId(request_id);
  }
  absl::StatusOr<std::string> GreatestJobId() override { return base_->GreatestJobId(); }
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request) override {
    return base_->ListJobs(request);
  }
  absl::StatusOr<v1::Run> GetRun(std::string_view run_id) override { return base_->GetRun(run_id); }
  absl::StatusOr<v1::ListRunsResponse> ListRuns(const v1::ListRunsRequest& request) override {
    return base_->ListRuns(request);
  }
  absl::StatusOr<std::vector<v1::Run>> RunsOfJob(std::string_view job_id) override { return base_->RunsOfJob(job_id); }
  absl::StatusOr<v1::Device> GetDevice(std::string_view device_id) override { return base_->GetDevice(device_id); }
  absl::StatusOr<v1::ListDevicesResponse> ListDevices(const v1::ListDevicesRequest& request) override {
    return base_->ListDevices(request);
  }
  absl::Status ReadChunks(std::string_view run_id, std::uint32_t attempt,
                          const std::function<absl::Status(std::uint64_t, const v1::Chunk&)>& visit) override {
    return base_->ReadChunks(run_id, attempt, visit);
  }
  absl::Status ReadChunksWithEvents(
      std::string_view run_id, std::uint32_t attempt,
      const std::function<absl::Status(std::uint64_t, const v1::Chunk&)>& visit) override {
    return base_->ReadChunksWithEvents(run_id, attempt, visit);
  }
  absl::Status ReadWholeChunks(std::string_view run_id, std::uint32_t attempt,
                               const std::function<absl::Status(std::uint64_t, const v1::Chunk&)>& visit) override {
    return base_->ReadWholeChunks(run_id, attempt, visit);
  }
  absl::Status ReadSummaries(std::string_view run_id, std::uint32_t attempt,
                             const std::function<absl::Status(std::uint64_t, const v1::ChunkHeader&)>& visit) override {
    return base_->ReadSummaries(run_id, attempt, visit);
  }
  absl::StatusOr<std::vector<std::uint64_t>> ChunkPositions(std::string_view run_id, std::uint32_t attempt) override {
    return base_->ChunkPositions(run_id, attempt);
  }
  absl::StatusOr<std::vector<v1::Run>> RunsToThin(const storage::CreationKey& after, base::SystemTime created_before,
                                                  std::size_t limit) override {
    return base_->RunsToThin(after, created_before, limit);
  }
  absl::StatusOr<std::vector<v1::Job>> JobsCreatedBefore(const storage::CreationKey& after,
                                                         base::SystemTime created_before, std::size_t limit) override {
    return base_->JobsCreatedBefore(after, created_before, limit);
  }
  absl::StatusOr<storage::SpaceUse> GetSpaceUse() override { return base_->GetSpaceUse(); }
  absl::StatusOr<v1::ListAuditEntriesResponse> ListAuditEntries(const v1::ListAuditEntriesRequest& request) override {
    return base_->ListAuditEntries(request);
  }
  absl::StatusOr<std::vector<v1::MetricSummary>> GetRollups(std::string_view run_id, std::uint32_t attempt) override {
    return base_->GetRollups(run_id, attempt);
  }
  absl::StatusOr<v1::Certificate> GetCertificate(std::string_view serial) override {
    return base_->GetCertificate(serial);
  }
  absl::StatusOr<v1::ListCertificatesResponse> ListCertificates(const v1::ListCertificatesRequest& request) override {
    return base_->ListCertificates(request);
  }
  absl::StatusOr<std::vector<v1::Certificate>> RevokedCertificates() override { return base_->RevokedCertificates(); }
  absl::StatusOr<std::vector<v1::NameRevocation>> NameRevocations() override { return base_->NameRevocations(); }

 private:
  using Waiting = std::pair<storage::WriteBatch, std::function<void(absl::Status)>>;

  storage::Store* const base_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  absl::Status failure_;
  int failures_ = 0;
  std::deque<Waiting> waiting_;
};

}  // namespace ballast::coordinator
