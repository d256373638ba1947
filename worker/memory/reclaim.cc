#include "worker/memory/reclaim.h"

#include <malloc.h>

#include <algorithm>
#include <utility>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/os/procfs.h"

namespace ballast::memory {
namespace {

// What this process has of the machine's memory and swap.
std::int64_t HeldBytes() {
  const absl::StatusOr<std::string> content = base::ReadFile("/proc/self/status");
  if (!content.ok()) return 0;
  const os::ProcessStatus status = os::ParseProcessStatus(*content);
  return static_cast<std::int64_t>(status.resident.value_or(0) + status.swapped.value_or(0));
}

}  // namespace

std::shared_ptr<Reclaim::Entry> Reclaim::Add(std::string name, int priority, std::function<std::uint64_t()> drop) {
  auto entry = std::make_shared<Entry>(Entry{std::move(name), priority, std::move(drop)});
  const std::scoped_lock lock(mutex_);
  entries_.push_back(entry);
  std::ranges::stable_sort(entries_, {}, [](const std::shared_ptr<Entry>& each) { return each->priority; });
  return entry;
}

void Reclaim::Remove(const std::shared_ptr<Entry>& entry) {
  const std::scoped_lock lock(mutex_);
  entry->removed = true;
  std::erase(entries_, entry);
}

v1::OptimiseResult Reclaim::Run() {
  const std::scoped_lock lock(mutex_);
  v1::OptimiseResult result;
  const std::int64_t begin = HeldBytes();
  std::int64_t held = begin;
  const auto add_step = [&](const std::string& name, std::uint64_t claimed) {
    // What was freed may still lie with the allocator.
    ::malloc_trim(0);
    const std::int64_t now = HeldBytes();
    v1::OptimiseStep* const step = result.add_steps();
    step->set_name(name);
    step->set_claimed_bytes(claimed);
    step->set_freed_bytes(held - now);
    held = now;
  };
  add_step("malloc_trim", 0);
  const std::vector<std::shared_ptr<Entry>> entries = entries_;
  for (const std::shared_ptr<Entry>& entry : entries) {
    if (entry->removed) continue;
    add_step(entry->name, entry->drop());
  }
  *result.mutable_time() = base::ToProto(base::RealClock().Now());
  result.set_freed_bytes(begin - held);
  return result;
}

}  // namespace ballast::memory
