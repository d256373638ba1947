// Ends calls that do not move: whoever is at the other end was stopped, and its kernel goes on saying that it is there.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>

namespace ballast::coordinator {

// For calls that hold something of the server's while they wait for the other side: a thread, a file. Thread-safe.
class StallWatch {
 public:
  using Clock = std::chrono::steady_clock;

  // Calls are ended that have not moved for so long.
  explicit StallWatch(std::chrono::nanoseconds patience);
  ~StallWatch();
  StallWatch(const StallWatch&) = delete;
  StallWatch& operator=(const StallWatch&) = delete;

  // A call that is watched, until this is destroyed.
  class Call {
   public:
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    // Something came or went.
    void Moved();
    // Whether it was ended, because it had not moved.
    [[nodiscard]] bool ended() const;

   private:
    friend class StallWatch;
    Call(StallWatch* watch, std::uint64_t id) : watch_(watch), id_(id) {}
    StallWatch* const watch_;
    const std::uint64_t id_;
  };
  // `end` is called once at most, on the watch's thread and before the Call is gone. It must not block.
  [[nodiscard]] Call Watch(std::function<void()> end);

 private:
  struct Entry {
    Clock::time_point moved;
    std::function<void()> end;
    bool ended = false;
  };
  void Run(const std::stop_token& stop);

  const std::chrono::nanoseconds patience_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::uint64_t, Entry> calls_;  // guarded by mutex_
  std::uint64_t next_id_ = 1;             // guarded by mutex_
  std::jthread thread_;
};

}  // namespace ballast::coordinator
