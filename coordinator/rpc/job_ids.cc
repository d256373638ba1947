#include "coordinator/rpc/job_ids.h"

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace ballast::coordinator {
namespace {

constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t kCharacters = 10;
constexpr unsigned kBitsPerCharacter = 5;
constexpr unsigned kRandomBits = 10;
constexpr base::SystemTime kEpoch = std::chrono::sys_days(std::chrono::year(2024) / 1 / 1);

// The number in an identifier; 0 where it is none.
std::uint64_t Parse(std::string_view identifier, std::string_view prefix) {
  if (!identifier.starts_with(prefix) || identifier.size() != prefix.size() + kCharacters) return 0;
  std::uint64_t value = 0;
  for (const char c : identifier.substr(prefix.size())) {
    const std::size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return 0;
    value = (value << kBitsPerCharacter) | digit;
  }
  return value;
}

}  // namespace

JobIds::JobIds(const base::Clock* clock, std::string_view greatest, std::string_view prefix)
    : clock_(clock), prefix_(prefix), random_(std::random_device()()), last_(Parse(greatest, prefix)) {}

std::string JobIds::Next() {
  const std::lock_guard lock(mutex_);
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(clock_->Now() - kEpoch).count();
  const std::uint64_t time = static_cast<std::uint64_t>(std::max<std::int64_t>(since, 0)) << kRandomBits;
  last_ = std::max(time | (random_() & ((1U << kRandomBits) - 1)), last_ + 1);
  std::string job_id = prefix_;
  for (unsigned i = kCharacters; i-- > 0;) {
    job_id += kAlphabet[(last_ >> (i * kBitsPerCharacter)) & ((1U << kBitsPerCharacter) - 1)];
  }
  return job_id;
}

absl::StatusOr<std::string> NextUnusedJobId(JobIds* ids, storage::Store* store) {
  while (true) {
    std::string job_id = ids->Next();
    const absl::StatusOr<v1::Job> taken = store->GetJob(job_id);
    if (absl::IsNotFound(taken.status())) return job_id;
    if (!taken.ok()) return taken.status();
  }
}

}  // namespace ballast::coordinator
