#include "worker/agent/soak.h"

#include <algorithm>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/units.h"

namespace ballast::agent {
namespace {

using metrics::MetricId;
using std::chrono::nanoseconds;

constexpr std::size_t kMostCycles = 20'000;

std::uint64_t At(const metrics::SampleRow& row, MetricId id) {
  const std::int64_t value = row[metrics::IndexOf(id)];
  return value == metrics::kAbsent || value < 0 ? 0 : static_cast<std::uint64_t>(value);
}

// From the mapping or reading of the weights until each was used once.
nanoseconds LoadTime(const v1::ModelLoadResult& load) {
  nanoseconds time{0};
  for (const v1::LoadStage& stage : load.stages()) {
    if (stage.kind() != v1::LoadStage::PASSES) time += base::FromProto(stage.duration());
  }
  return time;
}

}  // namespace

Soak::Soak(const v1::StabilityWorkload& workload, const v1::SoakProgress& before)
    : duration_(base::FromProto(workload.duration())),
      elapsed_before_(base::FromProto(before.elapsed())),
      cycle_(before.cycle_count()) {}

bool Soak::Continues(nanoseconds elapsed) const {
  return elapsed < planned();
}

nanoseconds Soak::planned() const {
  return std::max(duration_ - elapsed_before_, nanoseconds(0));
}

void Soak::BeginCycle(nanoseconds elapsed) {
  ++cycle_;
  current_.Clear();
  current_.set_index(cycle_);
  *current_.mutable_start_offset() = base::ToProto(elapsed);
}

void Soak::AddSample(const metrics::SampleRow& row, std::uint64_t held_bytes) {
  current_.set_peak_held_bytes(std::max(current_.peak_held_bytes(), held_bytes));
  current_.set_runner_resident_bytes(
      std::max(current_.runner_resident_bytes(),
               At(row, MetricId::kRunnerResidentBytes) + At(row, MetricId::kLoadResidentBytes)));
}

void Soak::EndCycle(nanoseconds elapsed, const v1::Outcome& outcome, const v1::ModelLoadResult* load,
                    const metrics::SampleRow& row) {
  *current_.mutable_end_offset() = base::ToProto(elapsed);
  const bool load_failed =
      outcome.kind() == v1::COMPLETED && load != nullptr && load->outcome().kind() != v1::COMPLETED;
  const v1::Outcome& counts = load_failed ? load->outcome() : outcome;
  current_.set_outcome(counts.kind());
  current_.set_message(counts.message());
  current_.set_agent_resident_bytes(At(row, MetricId::kAgentRssBytes));
  const std::uint64_t limit = At(row, MetricId::kMemLimitBytes);
  current_.set_system_used_bytes(limit - std::min(limit, At(row, MetricId::kMemLimitAvailableBytes)));
  if (load != nullptr && load->outcome().kind() == v1::COMPLETED) {
    *current_.mutable_load_time() = base::ToProto(LoadTime(*load));
  }
  ++ended_;
  if (counts.kind() != v1::COMPLETED) ++failed_;
  if (cycles_.size() < kMostCycles) cycles_.push_back(current_);
}

std::string Soak::Summary() const {
  if (cycle_ == 0) return "the time was over before the first cycle began";
  const std::string before = cycle_ > ended_ ? fmt::format(" ({} of them in earlier attempts)", cycle_ - ended_) : "";
  const std::string failed = failed_ > 0 ? fmt::format("; {} of the last {} did not complete", failed_, ended_) : "";
  return fmt::format("{} cycle{} in {}{}{}", cycle_, cycle_ == 1 ? "" : "s", base::FormatDuration(duration_), before,
                     failed);
}

}  // namespace ballast::agent
