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

}  // namespace ballast::model
