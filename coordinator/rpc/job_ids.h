// Identifiers of jobs.
#pragma once

#include <cstdint>
#include <mutex>
#include <random>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "storage/store.h"

namespace ballast::coordinator {

// Gives identifiers: a prefix (`j-` of jobs) and ten characters of Crockford's base 32, of which the first eight are
// the time (in milliseconds since 2024) and the last two random. They sort in order of creation, and none is given
// twice as long as the generator starts after the greatest that exists. Thread-safe.
class JobIds {
 public:
  // `greatest` is the greatest identifier there is, which need not be that of the latest job: the clock may have been
  // set back. Empty where there is none; one that is not of this form is ignored.
  JobIds(const base::Clock* clock, std::string_view greatest, std::string_view prefix = "j-");

  [[nodiscard]] std::string Next();

 private:
  const base::Clock* const clock_;
  const std::string prefix_;
  std::mutex mutex_;
  std::mt19937_64 random_;
  std::uint64_t last_ = 0;  // guarded by mutex_
};

// The next identifier that no stored job has: a job is never written over another, whatever the store was filled with.
// Codes of the store.
[[nodiscard]] absl::StatusOr<std::string> NextUnusedJobId(JobIds* ids, storage::Store* store);

}  // namespace ballast::coordinator
