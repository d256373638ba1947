// Deliberate bugs, one of which can be switched on for the whole program.
#pragma once

#include <algorithm>
#include <iterator>
#include <string_view>

namespace ballast::simulation {

// Their names. Some are planted in copies of production sources (planted_mutations.py), the others here.
inline constexpr std::string_view kMutations[] = {
    "ack_before_commit",
    "acked_chunk_not_stored",
    "no_dedupe",
    "cancel_lost_at_restart",
    "unacked_not_sent_again",
    "spool_not_synced",
    "intent_not_journalled",
    "replacement_wins",
    "lost_after_ignored",
    "lost_too_early",
    "cancelled_tried_again",
    "run_forgotten_at_reconnect",
    "old_session_not_ended",
    "idle_believed_too_soon",
    "late_hello_believed",
    "replayed_without_sync",
    "outcome_overwritten",
    "late_result_twice",
    "silence_not_forgiven",
    "seq_restarted",
    "beginning_deleted",
    "segment_entry_not_synced",
    "drained_gets_runs",
    "late_start_dropped",
    "removals_wait",
    "sleep_not_forgiven",
    "reservation_ignored",
    "quarantine_ignored",
    "repetition_twice",
    "placement_forgotten",
    "job_limit_ignored",
    "fleet_limit_ignored",
};
[[nodiscard]] inline bool IsMutation(std::string_view name) {
  return std::ranges::find(kMutations, name) != std::end(kMutations);
}

// Switches a bug on; empty for none. Before any schedule runs.
void SetMutation(std::string_view name);

// Whether this bug is switched on.
[[nodiscard]] bool Mutated(std::string_view name);

}  // namespace ballast::simulation
