// Gives memory of this process back to the system.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ballast/v1/memory_report.pb.h"

namespace ballast::memory {

// What the program registered, and how it is dropped. Thread-safe; functions that are called may register and remove.
class Reclaim {
 public:
  // One registration.
  struct Entry {
    std::string name;
    int priority = 0;
    std::function<std::uint64_t()> drop;
    bool removed = false;  // guarded by mutex_
  };

  [[nodiscard]] std::shared_ptr<Entry> Add(std::string name, int priority, std::function<std::uint64_t()> drop);
  void Remove(const std::shared_ptr<Entry>& entry);

  // Trims the allocator, then drops everything in order of priority, trimming after each.
  [[nodiscard]] v1::OptimiseResult Run();

 private:
  // Recursive, so that a function that drops can change the list. Held over each call: removal waits for it.
  std::recursive_mutex mutex_;
  std::vector<std::shared_ptr<Entry>> entries_;
};

}  // namespace ballast::memory
