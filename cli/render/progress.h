// What a job is doing, for people who watch.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "ballast/v1/client_service.pb.h"
#include "cli/context.h"
#include "common/base/clock.h"

namespace ballast::cli {

// The state of one job, kept up to date from the updates of a watch. Not thread-safe.
class JobProgress {
 public:
  // Takes an update in and returns a line for each change worth one: the job's state, what it waits for, a run's state,
  // its phase, its outcome.
  [[nodiscard]] std::vector<std::string> Apply(const v1::JobUpdate& update);

  // Takes in what the runs wait for by an answer to GetJob, and nothing else of it: the state is what the updates say.
  // Returns a line where the first reason has become another one.
  [[nodiscard]] std::vector<std::string> ApplyWaitReasons(const v1::Job& job);

  // Whether runs wait and none goes on: what they wait for may change then without an update.
  [[nodiscard]] bool OnlyWaits() const { return !job_.job_id().empty() && waiting_ > 0 && going_on_ == 0; }

  // The picture of this moment: a line for the job, one for what its runs wait for, then one with a bar for each run
  // that is going on, cut to `columns`, at most `rows`.
  [[nodiscard]] std::vector<std::string> Picture(std::size_t columns, std::size_t rows) const;

  [[nodiscard]] const v1::Job& job() const { return job_; }
  // All runs that were heard of, ordered by their number.
  [[nodiscard]] std::vector<v1::Run> Runs() const;

 private:
  struct RunState {
    v1::Run run;
    v1::RunProgress progress;  // the last one; empty before the first
  };

  // What a reason to wait is about. Its words change more often, with times and the runs that go before.
  using WaitSubject = std::pair<v1::WaitReason::Kind, std::string>;

  [[nodiscard]] std::vector<std::string> ApplyJob(const v1::Job& job);
  [[nodiscard]] std::vector<std::string> StateLines(v1::Job::State before, bool cancel_before) const;
  [[nodiscard]] std::optional<WaitSubject> FirstWait() const;
  [[nodiscard]] std::vector<std::string> WaitLines();
  [[nodiscard]] std::vector<std::string> ApplyRun(const v1::Run& run);
  [[nodiscard]] std::vector<std::string> ApplyProgress(const v1::RunProgress& progress);
  void Count(const v1::Run& run, int change);

  v1::Job job_;
  std::optional<WaitSubject> wait_told_;  // by the last line about it, as long as it holds
  std::map<std::pair<std::size_t, std::string>, RunState>
      runs_;         // by length and text of the identifier: in order of number
  int waiting_ = 0;  // of them
  int going_on_ = 0;
};

// Writes a job's progress to a stream: redrawn in place on a live terminal, a line a change otherwise. Not thread-safe.
class ProgressPrinter {
 public:
  // The references must outlive it.
  ProgressPrinter(std::ostream& out, const Terminal& terminal, const base::Clock& clock);
  // Leaves the stream at the beginning of a line, without the picture.
  ~ProgressPrinter();
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;

  void Update(const v1::JobUpdate& update);
  // As JobProgress::ApplyWaitReasons. Returns whether they are others than before.
  bool UpdateWaitReasons(const v1::Job& job);
  // When (Clock::Monotonic) DrawOwed is to be called, because an update came too soon after the last picture to be
  // drawn; nothing where the picture is as things are.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> redraw_due() const;
  // Draws what is owed, once that is due.
  void DrawOwed();
  // A line that stays, for instance that the coordinator went away.
  void Note(const std::string& line);

  [[nodiscard]] const JobProgress& progress() const { return progress_; }

 private:
  void Erase();
  void Draw();
  void DrawOrOwe();

  std::ostream& out_;
  Terminal terminal_;
  const base::Clock& clock_;
  JobProgress progress_;
  std::size_t drawn_lines_ = 0;
  std::chrono::nanoseconds drawn_at_{-std::chrono::hours(1)};
  bool owed_ = false;
};

}  // namespace ballast::cli
