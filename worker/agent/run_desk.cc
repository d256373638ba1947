#include "worker/agent/run_desk.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace ballast::agent {
namespace {

constexpr std::size_t kMaxRemembered = 1024;

}  // namespace

AssignmentVerdict RunDesk::Judge(const AttemptKey& key, bool in_spool, bool stopping) const {
  using Kind = AssignmentVerdict::Kind;
  if (active_ == key || in_spool || std::ranges::find(ended_, key) != ended_.end()) return {Kind::kIgnore, {}};
  if (stopping) return {Kind::kRefuse, "the worker is stopping"};
  if (active_) return {Kind::kRefuse, fmt::format("the worker is busy with {}", ToText(*active_))};
  return {Kind::kTake, {}};
}

void RunDesk::End(bool carried_out) {
  if (carried_out && active_) {
    ended_.push_back(*active_);
    if (ended_.size() > kMaxRemembered) ended_.pop_front();
  }
  active_.reset();
}

}  // namespace ballast::agent
