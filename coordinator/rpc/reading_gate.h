// A gate for work that must be over before what it uses goes away.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace ballast::coordinator {

// Readings of the store that no call waits for go through it: the end of the server waits until the last one is out,
// and lets none in any more. Thread-safe.
class ReadingGate {
 public:
  ReadingGate() = default;
  ReadingGate(const ReadingGate&) = delete;
  ReadingGate& operator=(const ReadingGate&) = delete;

  // Whether the reading may begin; then Leave follows.
  [[nodiscard]] bool Enter();
  void Leave();
  // From now on nobody gets in. Blocks until everybody is out. Repeatable.
  void Close();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t inside_ = 0;  // guarded by mutex_
  bool closed_ = false;     // guarded by mutex_
};

}  // namespace ballast::coordinator
