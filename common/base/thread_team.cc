#include "common/base/thread_team.h"

#include <system_error>

#include <fmt/format.h>

namespace ballast::base {

absl::StatusOr<std::unique_ptr<ThreadTeam>> ThreadTeam::Start(unsigned threads, std::string_view purpose) {
  std::unique_ptr<ThreadTeam> team(new ThreadTeam);
  try {
    for (unsigned thread = 1; thread < threads; ++thread) team->threads_.emplace_back(&ThreadTeam::Work, team.get());
  } catch (const std::system_error& error) {  // the only way in which the library tells
    return absl::ResourceExhaustedError(
        fmt::format("start {} threads that {}: {}; ask for fewer, or raise the limit of tasks (ulimit -u, "
                    "pids.max)",
                    threads, purpose, error.what()));
  }
  return team;
}

ThreadTeam::~ThreadTeam() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  begin_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadTeam::Run(const std::function<void()>& job) {
  {
    const std::lock_guard lock(mutex_);
    job_ = &job;
    at_work_ = threads_.size();
    ++jobs_;
  }
  begin_.notify_all();
  job();
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return at_work_ == 0; });
}

void ThreadTeam::Work() {
  std::uint64_t finished = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    begin_.wait(lock, [&] { return ended_ || jobs_ > finished; });
    if (ended_) return;
    ++finished;
    const std::function<void()>& job = *job_;
    lock.unlock();
    job();
    lock.lock();
    if (--at_work_ == 0) done_.notify_all();
  }
}

}  // namespace ballast::base
