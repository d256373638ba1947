// Identifiers of jobs.
#pragma once

#include <cstdint>
#include <mutex>
#include <random>
#include <string>
#include <string_view>

#include "common/base/clock.h"

namespace ballast::coordinator {

// Gives identifiers: `j-` and ten characters of Crockford's base 32, of which the first eight are the time (in
// milliseconds since 2024) and the last two random. They sort in order of creation, and none is given twice as long as
// the generator starts after the latest that exists. Thread-safe.
class JobIds {
 public:
  // `latest` is the identifier of the latest job there is; empty where there is none. One that is not of this form is
  // ignored.
  JobIds(const base::Clock* clock, std::string_view latest);

  [[nodiscard]] std::string Next();

 private:
  const base::Clock* const clock_;
  std::mutex mutex_;
  std::mt19937_64 random_;
  std::uint64_t last_ = 0;  // guarded by mutex_
};

}  // namespace ballast::coordinator
