#include "coordinator/rpc/rate_limiter.h"

#include <algorithm>

#include <fmt/format.h>

#include "common/base/units.h"

namespace ballast::coordinator {
namespace {

// A flood of new keys looks through the old ones this often at most.
constexpr std::chrono::seconds kSweepInterval(1);

}  // namespace

double RateLimiter::TokensAt(const Bucket& bucket, std::chrono::nanoseconds now) const {
  return std::min(burst_, bucket.tokens + per_second_ * base::ToSeconds(now - bucket.time));
}

RateLimiter::Bucket& RateLimiter::BucketOf(const std::string& key, std::chrono::nanoseconds now) {
  const auto found = buckets_.find(key);
  if (found != buckets_.end()) return found->second;
  if (buckets_.size() >= max_keys_ && now >= next_sweep_) {
    next_sweep_ = now + kSweepInterval;
    std::erase_if(buckets_, [&](const auto& item) { return TokensAt(item.second, now) >= burst_; });
    shared_ = {burst_, now};
  }
  if (buckets_.size() >= max_keys_) return shared_;
  return buckets_.emplace(key, Bucket{burst_, now}).first->second;
}

std::optional<std::chrono::nanoseconds> RateLimiter::Take(const std::string& key) {
  if (per_second_ <= 0 || burst_ <= 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const std::chrono::nanoseconds now = clock_->Monotonic();
  Bucket& bucket = BucketOf(key, now);
  bucket = {TokensAt(bucket, now), now};
  if (bucket.tokens >= 1) {
    bucket.tokens -= 1;
    return std::nullopt;
  }
  return std::chrono::nanoseconds(static_cast<std::int64_t>((1 - bucket.tokens) / per_second_ * 1e9) + 1);
}

std::size_t RateLimiter::key_count() const {
  const std::lock_guard lock(mutex_);
  return buckets_.size();
}

absl::Status EnrollmentLimit::Admit(const std::string& client) {
  const auto wait = limiter_.Take(client);
  if (!wait) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("more than {} tries to enrol in a minute came from this address; try again in {}", per_minute_,
                  base::FormatDuration(*wait)));
}

}  // namespace ballast::coordinator
