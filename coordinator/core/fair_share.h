// How much of the devices each submitter had lately. Inside of the core only.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace ballast::core {

// Use is device time, of which half is forgotten after each half-life. Times are those of the steady clock, and may lie
// before its beginning. Not thread-safe.
class FairShare {
 public:
  explicit FairShare(std::chrono::nanoseconds half_life) : half_life_(half_life) {}

  // The submitter gets, and gives back, a device.
  void Begin(const std::string& submitter, std::chrono::nanoseconds now);
  void End(const std::string& submitter, std::chrono::nanoseconds now);
  // Device time that was used until `end`.
  void Add(const std::string& submitter, std::chrono::nanoseconds used, std::chrono::nanoseconds end,
           std::chrono::nanoseconds now);

  // Device seconds that count now.
  [[nodiscard]] double Use(const std::string& submitter, std::chrono::nanoseconds now) const;

 private:
  struct Account {
    double seconds = 0;  // that counted at `at`
    std::chrono::nanoseconds at{0};
    std::uint32_t devices = 0;  // in use since
  };
  [[nodiscard]] double UseOf(const Account& account, std::chrono::nanoseconds now) const;
  Account& Settle(const std::string& submitter, std::chrono::nanoseconds now);

  std::chrono::nanoseconds half_life_;
  std::map<std::string, Account> accounts_;
};

}  // namespace ballast::core
