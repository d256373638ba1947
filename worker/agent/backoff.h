// How long to wait before the next try to connect.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace ballast::agent {

// Exponential back-off with jitter: at once the first time, then up to 100 ms, 200 ms, 400 ms, … up to `longest`. The
// jitter keeps a fleet that lost its coordinator from coming back all at once. Not thread-safe.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds longest, std::uint64_t seed) : longest_(longest), random_(seed) {}

  // The time to wait before the next try: between half of the step and the whole of it.
  [[nodiscard]] std::chrono::milliseconds Next();
  // For a refusal that time alone will hardly mend: from half of `longest` to the whole of it.
  [[nodiscard]] std::chrono::milliseconds NextAfterRefusal();
  // After a success: the next failure starts over.
  void Reset() { failures_ = 0; }

 private:
  [[nodiscard]] std::chrono::milliseconds Jitter(std::chrono::milliseconds step);

  const std::chrono::milliseconds longest_;
  std::mt19937_64 random_;
  unsigned failures_ = 0;
};

}  // namespace ballast::agent
