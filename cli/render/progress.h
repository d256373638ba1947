// What a job is doing, for people who watch.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "ballast/v1/client_service.pb.h"
#include "cli/context.h"
#include "common/base/clock.h"

namespace ballast::cli {

// The state of one job, kept up to date from the updates of a watch. Not thread-safe.
class JobProgress {
 public:
  // Takes an update in and returns a line for each change worth one: the job's state, a run's state, its phase, its
  // outcome.
  [[nodiscard]] std::vector<std::string> Apply(const v1::JobUpdate& update);

  // The picture of this moment: a line for the job, then one with a bar for each run that is going on, cut to
  // `columns`, at most `rows`.
  [[nodiscard]] std::vector<std::string> Picture(std::size_t columns, std::size_t rows) const;

  [[nodiscard]] const v1::Job& job() const { return job_; }
  // All runs that were heard of, ordered by their number.
  [[nodiscard]] std::vector<v1::Run> Runs() const;

 private:
  struct RunState {
    v1::Run run;
    v1::RunProgress progress;  // the last one; empty before the first
  };

  [[nodiscard]] std::vector<std::string> ApplyJob(const v1::Job& job);
  [[nodiscard]] std::vector<std::string> ApplyRun(const v1::Run& run);
  [[nodiscard]] std::vector<std::string> ApplyProgress(const v1::RunProgress& progress);

  v1::Job job_;
  std::map<std::pair<std::size_t, std::string>, RunState>
      runs_;  // by length and text of the identifier: in order of number
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
  // A line that stays, for instance that the coordinator went away.
  void Note(const std::string& line);

  [[nodiscard]] const JobProgress& progress() const { return progress_; }

 private:
  void Erase();
  void Draw();

  std::ostream& out_;
  Terminal terminal_;
  const base::Clock& clock_;
  JobProgress progress_;
  std::size_t drawn_lines_ = 0;
  std::chrono::nanoseconds drawn_at_{-std::chrono::hours(1)};
};

}  // namespace ballast::cli
