#include "coordinator/core/fair_share.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "common/base/clock.h"

namespace ballast::core {
namespace {

// Names come from outside: beyond so many, those whose use is forgotten all but for this go.
constexpr std::size_t kManyAccounts = 4096;
constexpr double kNegligibleSeconds = 1;

}  // namespace

double FairShare::UseOf(const Account& account, std::chrono::nanoseconds now) const {
  const double half_life = base::ToSeconds(half_life_);
  const double elapsed = base::ToSeconds(std::max(now - account.at, std::chrono::nanoseconds(0)));
  const double kept = std::exp2(-elapsed / half_life);
  // Devices that are in use add a second each second, which decays from then on.
  return account.seconds * kept + account.devices * (half_life / std::numbers::ln2) * (1 - kept);
}

FairShare::Account& FairShare::Settle(const std::string& submitter, std::chrono::nanoseconds now) {
  if (accounts_.size() >= kManyAccounts && !accounts_.contains(submitter)) {
    std::erase_if(accounts_, [&](const auto& entry) {
      return entry.second.devices == 0 && UseOf(entry.second, now) < kNegligibleSeconds;
    });
  }
  Account& account = accounts_[submitter];
  account.seconds = UseOf(account, now);
  account.at = std::max(account.at, now);
  return account;
}

void FairShare::Begin(const std::string& submitter, std::chrono::nanoseconds now) {
  ++Settle(submitter, now).devices;
}

void FairShare::End(const std::string& submitter, std::chrono::nanoseconds now) {
  Account& account = Settle(submitter, now);
  if (account.devices > 0) --account.devices;
}

void FairShare::Add(const std::string& submitter, std::chrono::nanoseconds used, std::chrono::nanoseconds end,
                    std::chrono::nanoseconds now) {
  Account& account = Settle(submitter, now);
  const Account then{.seconds = std::max(base::ToSeconds(used), 0.0), .at = std::min(end, now), .devices = 0};
  account.seconds += UseOf(then, now);
}

double FairShare::Use(const std::string& submitter, std::chrono::nanoseconds now) const {
  const auto account = accounts_.find(submitter);
  return account == accounts_.end() ? 0 : UseOf(account->second, now);
}

}  // namespace ballast::core
