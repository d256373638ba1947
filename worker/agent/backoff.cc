#include "worker/agent/backoff.h"

#include <algorithm>

namespace ballast::agent {
namespace {

constexpr std::chrono::milliseconds kFirstStep(100);
constexpr unsigned kMaxDoublings = 20;

}  // namespace

std::chrono::milliseconds Backoff::Next() {
  if (failures_++ == 0) return std::chrono::milliseconds(0);
  const unsigned doublings = std::min(failures_ - 2, kMaxDoublings);
  return Jitter(std::min<std::chrono::milliseconds>(kFirstStep * (1 << doublings), longest_));
}

std::chrono::milliseconds Backoff::NextAfterRefusal() {
  ++failures_;
  return Jitter(longest_);
}

std::chrono::milliseconds Backoff::Jitter(std::chrono::milliseconds step) {
  std::uniform_int_distribution<std::int64_t> distribution(step.count() / 2, step.count());
  return std::chrono::milliseconds(distribution(random_));
}

}  // namespace ballast::agent
