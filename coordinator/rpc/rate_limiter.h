// How often each client may do something: token buckets.
#pragma once

#include <chrono>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"
#include "common/base/clock.h"

namespace ballast::coordinator {

// One bucket for each key, full at first; what one takes the others do not miss. Remembers a bounded number of keys:
// when there are more, those that are full again are forgotten, and if there are none of these, all that come anew
// share one bucket. Thread-safe.
class RateLimiter {
 public:
  // `per_second` tokens flow into each bucket, which holds `burst`. Not positive: no bound. The clock outlives this.
  RateLimiter(double per_second, double burst, const base::Clock* clock, std::size_t max_keys = 65'536)
      : per_second_(per_second), burst_(burst), clock_(clock), max_keys_(max_keys) {}

  // Takes a token; where there is none, how long until there is.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> Take(const std::string& key);

  [[nodiscard]] std::size_t key_count() const;

 private:
  struct Bucket {
    double tokens = 0;
    std::chrono::nanoseconds time{};  // when it held so many
  };

  [[nodiscard]] double TokensAt(const Bucket& bucket, std::chrono::nanoseconds now) const;
  Bucket& BucketOf(const std::string& key, std::chrono::nanoseconds now);

  const double per_second_;
  const double burst_;
  const base::Clock* const clock_;
  const std::size_t max_keys_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Bucket> buckets_;
  Bucket shared_;
  std::chrono::nanoseconds next_sweep_{};
};

// Tries to enrol, from each address. Thread-safe.
class EnrollmentLimit {
 public:
  // Zero: no bound. The clock outlives this.
  EnrollmentLimit(std::uint32_t per_minute, const base::Clock* clock)
      : per_minute_(per_minute), limiter_(per_minute / 60.0, per_minute, clock) {}

  // RESOURCE_EXHAUSTED, with the time after which to try again, where `client` (ClientKeyOf) tries too often.
  [[nodiscard]] absl::Status Admit(const std::string& client);

 private:
  const std::uint32_t per_minute_;
  RateLimiter limiter_;
};

}  // namespace ballast::coordinator
