// Threads that do one thing together, again and again.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"

namespace ballast::base {

// Some threads that wait between jobs. They are started once, before memory is short: a thread that is started while a
// device runs out of memory may not get its stack. Not thread-safe: one owner gives the jobs.
class ThreadTeam {
 public:
  // `threads` counts the caller's own, so 1 starts none. RESOURCE_EXHAUSTED when the system refuses a thread; `purpose`
  // ("fill memory") is in its message.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ThreadTeam>> Start(unsigned threads, std::string_view purpose);
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;
  // Joins the threads.
  ~ThreadTeam();

  // Calls `job` once on each thread and on the caller's, all at the same time, and returns when all have returned.
  void Run(const std::function<void()>& job);

 private:
  ThreadTeam() = default;
  void Work();

  std::mutex mutex_;
  std::condition_variable begin_;
  std::condition_variable done_;
  const std::function<void()>* job_ = nullptr;
  std::uint64_t jobs_ = 0;   // given so far
  std::size_t at_work_ = 0;  // threads that have not finished the last job
  bool ended_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ballast::base
