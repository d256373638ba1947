// The numbers below n in an order without pattern.
#pragma once

#include <bit>
#include <cstdint>

namespace ballast::pressure {

// A permutation of 0 … count - 1, one of very many, chosen by a key. Takes no memory: each place is calculated. Two
// keys give orders that have nothing to do with each other.
class PagePermutation {
 public:
  // `count` is at least 1.
  PagePermutation(std::uint64_t count, std::uint64_t key)
      : count_(count), bits_(count > 1 ? static_cast<unsigned>(std::bit_width(count - 1)) : 1U), key_(key) {}

  [[nodiscard]] std::uint64_t count() const { return count_; }

  // The number at `place`, which is below count.
  [[nodiscard]] std::uint64_t At(std::uint64_t place) const {
    // A permutation of the next power of two; numbers that are too large are followed until one is not ("cycle
    // walking"). At most half are too large, so that it takes two steps on average at most.
    do {
      place = Scramble(place);
    } while (place >= count_);
    return place;
  }

 private:
  // Adding, multiplying by an odd number (modulo 2^bits) and x ^= x >> n can each be undone, so no two numbers meet.
  [[nodiscard]] std::uint64_t Scramble(std::uint64_t x) const {
    const std::uint64_t mask = bits_ == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits_) - 1;
    const unsigned shift = (bits_ + 1) / 2;
    x = (x + key_) & mask;
    x = (x * 0xd6e8'feb8'6659'fd93U) & mask;
    x ^= x >> shift;
    x = (x + (key_ >> 32U)) & mask;
    x = (x * 0x9e37'79b9'7f4a'7c15U) & mask;
    x ^= x >> shift;
    x = (x * 0xbf58'476d'1ce4'e5b9U) & mask;
    return x ^ (x >> shift);
  }

  std::uint64_t count_;
  unsigned bits_;
  std::uint64_t key_;
};

}  // namespace ballast::pressure
