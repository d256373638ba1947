// Where runs wait. Inside of the core only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "coordinator/core/device_filter.h"

namespace ballast::core {

struct DeviceEntry;
struct JobEntry;
struct Pool;
struct RunEntry;

// The runs of one job that wait in one pool.
struct Lane {
  JobEntry* job = nullptr;
  Pool* pool = nullptr;
  std::map<std::size_t, RunEntry*> runs;  // by their number in the job
};

// Runs that the same devices may take: one device's own queue, or what waits for any of several. A device is in its own
// and in every shared one whose filter it matches.
struct Pool {
  std::uint64_t number = 0;       // no two have the same; by it they are ordered
  DeviceEntry* device = nullptr;  // whose own queue it is; null where it is shared
  // Of a shared one.
  std::string key;
  DeviceFilter filter;
  std::map<std::string, DeviceEntry*> members;

  // Priority, greatest first; submitter; order of the job's submission.
  using BySubmission = std::map<std::uint64_t, Lane*>;
  std::map<std::int32_t, std::map<std::string, BySubmission>, std::greater<>> waiting;
};

}  // namespace ballast::core
