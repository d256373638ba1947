// The only source of chance in a schedule.
#pragma once

#include <chrono>
#include <cstdint>

namespace ballast::simulation {

// The same seed gives the same numbers on every machine (xorshift64*, seeded through splitmix64). Not thread-safe.
class Random {
 public:
  explicit Random(std::uint64_t seed) {
    std::uint64_t z = seed + 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    state_ = (z ^ (z >> 31U)) | 1U;
  }

  std::uint64_t Next() {
    state_ ^= state_ >> 12U;
    state_ ^= state_ << 25U;
    state_ ^= state_ >> 27U;
    return state_ * 0x2545F4914F6CDD1DU;
  }
  // 0 to n - 1.
  std::uint64_t Below(std::uint64_t n) { return (Next() >> 11U) % n; }
  // True once in `n` times.
  bool OneIn(std::uint64_t n) { return Below(n) == 0; }
  std::chrono::nanoseconds Between(std::chrono::nanoseconds least, std::chrono::nanoseconds most) {
    const auto range = static_cast<std::uint64_t>((most - least).count());
    return least + std::chrono::nanoseconds(static_cast<std::int64_t>(Below(range + 1)));
  }

 private:
  std::uint64_t state_ = 0;
};

}  // namespace ballast::simulation
