// How many threads use a model's weights.
#pragma once

#include <algorithm>
#include <thread>

#include "ballast/v1/workload.pb.h"

namespace ballast::model {

// As the load says; where it says nothing, one less than there are processors, but at least one: with all of them each
// pass would wait for the one that the rest of the device uses.
[[nodiscard]] inline unsigned ThreadsOf(const v1::ModelLoad& load) {
  return load.threads() != 0 ? load.threads() : std::max(std::thread::hardware_concurrency(), 2U) - 1;
}

// How many threads read a model's files: all processors, but no more than four, which keep any disk busy. Copying and
// clearing pages takes a processor longer than the disk's part where the file is in the page cache.
[[nodiscard]] inline unsigned ReadersOf(unsigned threads) {
  return std::max(threads, std::min(std::thread::hardware_concurrency(), 4U));
}

}  // namespace ballast::model
