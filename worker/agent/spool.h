// The flight recorder: what a device has to say about its attempts, on its disk before anyone is told.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/record.pb.h"
#include "ballast/v1/run.pb.h"
#include "worker/agent/attempt_key.h"
#include "worker/agent/spool_disk.h"
#include "worker/agent/spool_files.h"

namespace ballast::agent {

struct SpoolOptions {
  // Where the spool lies: `DIRECTORY/spool` and `DIRECTORY/set_aside`.
  std::filesystem::path directory = {};
  // Most bytes on disk before chunks are refused. The small records that begin and end an attempt are always taken.
  std::uint64_t quota_bytes = 256U << 20U;
  // A segment that has grown this large is followed by a new one. At most an eighth of the quota counts: the last
  // segment of an open attempt stays, acknowledged or not, and must leave room for what follows.
  std::uint64_t segment_bytes = 1U << 20U;
  // Most bytes that wait in memory for the disk before chunks are refused.
  std::uint64_t queue_bytes = 4U << 20U;
  // Outlives the spool.
  SpoolDisk* disk = &RealSpoolDisk();
  // False where nobody else is there to write: WriteQueued does it on its caller's thread, and Begin and Flush for
  // themselves, with one try. What is queued at the end is lost then.
  bool own_thread = true;
};

// An attempt that was cut off: begun, not ended, its process gone.
struct CutOffAttempt {
  AttemptKey key;
  v1::AttemptStarted started;
  // What the attempt had found out about itself a second before the end at most; absent where it had not come to that.
  std::optional<v1::RunResult> result_so_far;
};

// Keeps the records of attempts in files, one directory an attempt, and hands them out until they are acknowledged. One
// thread of its own does all the writing, so that who appends never waits for a disk (Begin excepted): under memory
// pressure a disk can take seconds. A record exists for readers only once it is durable, so nothing is ever sent that a
// power cut could take back. When the disk is full the writer tries again each second; nothing is lost or reordered
// meanwhile, and chunks are refused once `queue_bytes` wait. Thread-safe.
//
// The files are described in docs/worker.md.
class Spool {
 public:
  // Opens or creates the spool, reads back what is there, cuts off torn tails, turns drafts of cut-off attempts into
  // records, and names the cut-off attempts in `cut_off`, which the caller ends with Finish. Attempts that make no
  // sense are set aside. The caller holds the lock on the directory.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Spool>> Open(SpoolOptions options,
                                                                   std::vector<CutOffAttempt>* cut_off);

  // Writes what is queued, if the disk takes it, and ends the writer.
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Makes an attempt with its first record. Returns when that is durable. ALREADY_EXISTS when the spool has the
  // attempt; the disk's error when it cannot be written within `timeout` (the attempt is not there then).
  [[nodiscard]] absl::Status Begin(const AttemptKey& key, const v1::AttemptStarted& started,
                                   std::chrono::milliseconds timeout = std::chrono::seconds(10));

  // Appends a chunk. Does not wait. RESOURCE_EXHAUSTED when the quota or the queue is full, FAILED_PRECONDITION when
  // the attempt is not open.
  [[nodiscard]] absl::Status AppendChunk(const AttemptKey& key, v1::Chunk chunk);

  // Keeps, beside the log, what would be lost with the process: the chunk that is still growing (may be null) and the
  // result so far. Each draft replaces the one before. Does not wait, and is dropped where the disk does not take it.
  void SaveDraft(const AttemptKey& key, const v1::Chunk* growing, const v1::RunResult& result_so_far);

  // Appends the last record. Does not wait. FAILED_PRECONDITION when the attempt is not open.
  [[nodiscard]] absl::Status Finish(const AttemptKey& key, const v1::AttemptFinished& finished);

  // Waits until all that was appended before is durable. The disk's error or DEADLINE_EXCEEDED when it is not within
  // `timeout`.
  [[nodiscard]] absl::Status Flush(std::chrono::milliseconds timeout);

  // Writes what is queued where the spool has no thread of its own. False when the disk did not take it; it stays
  // queued, in order.
  bool WriteQueued();

  // The coordinator has these records. Segments of which every record is acknowledged are deleted (the one with the
  // first record only with the whole attempt), and the attempt with the last of a finished log. Unknown attempts and
  // positions are ignored.
  void Acknowledge(const AttemptKey& key, std::span<const std::uint64_t> seqs);

  // The coordinator cannot take the attempt's records: its files move to `set_aside`, where the oldest go when they
  // pass a quarter of the quota. An attempt that is still open is forgotten too: appending to it fails from now on.
  void SetAside(const AttemptKey& key, std::string_view reason);

  [[nodiscard]] bool Contains(const AttemptKey& key) const;
  // Every attempt that has records, in order of name.
  [[nodiscard]] std::vector<AttemptKey> Held() const;
  // Bytes of records that are durable and not acknowledged.
  [[nodiscard]] std::uint64_t unacknowledged_bytes() const;
  // The same with records that still wait for the disk: nothing is left to be told where there are none.
  [[nodiscard]] std::uint64_t undelivered_bytes() const;
  // Why records wait in memory: of the last try to write; OK where the disk took it.
  [[nodiscard]] absl::Status disk_status() const;
  // Bytes of files, those that wait in memory included.
  [[nodiscard]] std::uint64_t total_bytes() const;

  // Called, on the writer's thread, each time records have become durable. Set it once, before records are appended by
  // other threads; null takes it away and waits for a call that is going on.
  void SetListener(std::function<void()> listener);

  [[nodiscard]] SpoolDisk& disk() const { return *disk_; }

  // Where a record stands.
  struct Position {
    AttemptKey key;
    std::uint64_t seq = 0;
    std::filesystem::path file;
    std::uint32_t offset = 0;  // of the frame
    std::uint32_t length = 0;  // of the payload
  };
  // The first durable, unacknowledged record whose seq is above the one that `after` names for its attempt (0 where it
  // names none). With `only`, of that attempt alone.
  [[nodiscard]] std::optional<Position> FindUnacknowledged(const std::map<AttemptKey, std::uint64_t>& after,
                                                           const AttemptKey* only = nullptr) const;

 private:
  struct Attempt {
    std::uint64_t incarnation = 0;  // tells an attempt from an earlier one of the same name that was given up
    std::uint64_t next_seq = 1;
    std::uint64_t draft_slot = 0;  // where the next draft goes: not where the youngest whole one is
    bool finished = false;
    std::vector<Segment> segments;  // ascending; of durable records

    // All of a finished log is durable and acknowledged.
    [[nodiscard]] bool Done() const;
  };
  // Something for the writer to do.
  struct Work {
    enum class Kind { kAppend, kDraft, kDeleteSegment, kDeleteAttempt, kSetAside };
    Kind kind = Kind::kAppend;
    AttemptKey key;
    std::uint64_t incarnation = 0;
    std::uint64_t number = 0;  // seq of the record, or first seq of the segment
    std::string bytes;         // whole frames
    std::uint64_t ticket = 0;  // position among all work, from 1
  };

  explicit Spool(SpoolOptions options);

  absl::Status Replay(std::vector<CutOffAttempt>* cut_off);
  absl::Status ReplayAttempt(const std::filesystem::path& directory, std::vector<CutOffAttempt>* cut_off);
  [[nodiscard]] std::filesystem::path DirectoryOf(const AttemptKey& key) const;

  // Waits for the writer, or does its work; whether it came to that.
  bool Await(std::unique_lock<std::mutex>* lock, std::chrono::milliseconds timeout,
             const std::function<bool()>& condition);

  // These want mutex_ held.
  void Enqueue(Work work);
  void EnqueueRecord(const AttemptKey& key, Attempt* attempt, std::string frame);
  [[nodiscard]] Attempt* FindOpen(const AttemptKey& key);
  void DeleteAcknowledged(const AttemptKey& key, Attempt* attempt);
  void Forget(std::map<AttemptKey, Attempt>::iterator position);
  // After work was taken out of the queue for good.
  void NoteCompleted();
  void NoteDurable(const Work& work, std::uint64_t segment_first_seq, std::uint64_t offset);

  // These run on the writer's thread, without mutex_.
  void WriterLoop();
  // Writes the first work, and what goes with it, with `lock` held before and after. False where there is none, or the
  // disk did not take it.
  bool WriteBatch(std::unique_lock<std::mutex>* lock);
  absl::Status Write(std::span<const Work> batch, std::size_t* done, bool* wrote);
  // Carries out the removals that wait behind records which the disk does not take: they may be what makes room. With
  // `lock` held before and after.
  void RemoveWhatWaits(std::unique_lock<std::mutex>* lock);
  // `wrote`: whether anything went to the disk, not only past it.
  absl::Status WriteAppends(std::span<const Work> batch, std::size_t* done, bool* wrote);
  absl::Status WriteDraft(const Work& work);
  absl::Status MoveAside(const AttemptKey& key) const;
  void DeleteDirectory(const std::filesystem::path& directory) const;
  void CallListener();

  const SpoolOptions options_;
  SpoolDisk* const disk_;
  const std::filesystem::path spool_directory_;
  const std::filesystem::path set_aside_directory_;
  const std::filesystem::path trash_directory_;

  mutable std::mutex mutex_;
  std::condition_variable work_changed_;     // the writer waits for work
  std::condition_variable written_changed_;  // others wait for the writer
  std::map<AttemptKey, Attempt> attempts_;
  std::deque<Work> queue_;
  std::uint64_t queued_bytes_ = 0;   // of appends that are not durable yet
  std::uint64_t durable_bytes_ = 0;  // of segments
  std::uint64_t unacknowledged_bytes_ = 0;
  std::uint64_t last_ticket_ = 0;       // given
  std::uint64_t completed_ticket_ = 0;  // done, with all before it
  std::uint64_t failure_count_ = 0;     // tries to write that failed
  std::uint64_t last_incarnation_ = 0;
  absl::Status disk_status_;  // of the last try to write
  bool stopping_ = false;

  std::mutex listener_mutex_;
  std::function<void()> listener_;

  std::jthread writer_;
};

}  // namespace ballast::agent
