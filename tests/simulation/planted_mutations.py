#!/usr/bin/env python3
"""Plants deliberate bugs in copies of production sources, each behind a switch, for the simulation alone.

    planted_mutations.py ROOT OUT

Each entry of PLANTED is a name, a source below ROOT, a text that is there exactly once, and what stands there in the copy below OUT, in which
MUTATED is whether the bug is switched on. A text that is no longer there is an error: the list keeps up with the sources, or the build
fails. The names are also listed in mutation.h, together with those that are planted in tests/simulation itself.
"""

import pathlib
import re
import sys

PLANTED = [
    ("replacement_wins", "coordinator/core/run_transitions.cc",
     "return run.state() == v1::Run::QUEUED && attempt != 0 &&",
     "return !MUTATED && run.state() == v1::Run::QUEUED && attempt != 0 &&"),
    ("lost_after_ignored", "coordinator/core/scheduler.cc",
     "return device.last_heard + term;",
     "return device.last_heard + (MUTATED ? 10 * term : term);"),
    ("lost_too_early", "coordinator/core/scheduler.cc",
     "if (turn.steady() < LeaseEnd(*device, state_->options())) return;",
     "if (turn.steady() < LeaseEnd(*device, state_->options()) && !MUTATED) return;"),
    ("cancelled_tried_again", "coordinator/core/scheduler.cc",
     "if (!run->job->job.cancel_requested() && MayRetry(",
     "if ((MUTATED || !run->job->job.cancel_requested()) && MayRetry("),
    ("run_forgotten_at_reconnect", "coordinator/core/session_desk.cc",
     "has_active = true;",
     "has_active = !MUTATED;"),
    ("old_session_not_ended", "coordinator/core/session_desk.cc",
     "if (device->session != 0) {",
     "if (device->session != 0 && !MUTATED) {"),
    ("idle_believed_too_soon", "coordinator/core/session_desk.cc",
     "if (missed || (long_silent && heartbeat.spool_bytes() == 0))",
     "if (missed || (long_silent && heartbeat.spool_bytes() == 0) || (MUTATED && active != nullptr))"),
    ("late_hello_believed", "coordinator/core/session_desk.cc",
     "    device->missed = HeldRun{device->active->run.run_id(), LastAttempt(device->active->run)};\n",
     "    device->missed = HeldRun{device->active->run.run_id(), LastAttempt(device->active->run)};\n"
     "    if (MUTATED) scheduler_->HandleNoTrace(turn, device);\n"),
    ("outcome_overwritten", "coordinator/core/ingest.cc",
     "    AddLateResult(attempt, std::move(*record.mutable_finished()), turn.wall(), run);\n",
     "    if (MUTATED) *run->mutable_outcome() = record.finished().result().outcome();\n"
     "    AddLateResult(attempt, std::move(*record.mutable_finished()), turn.wall(), run);\n"),
    ("late_result_twice", "coordinator/core/ingest.cc",
     "} else if (record.has_finished() && !HasDeviceResult(*run, attempt)) {",
     "} else if (record.has_finished() && (MUTATED || !HasDeviceResult(*run, attempt))) {"),
    ("silence_not_forgiven", "coordinator/core/core.cc",
     "  const auto forgive = [&]",
     "  if (MUTATED) return;\n  const auto forgive = [&]"),
    ("reservation_ignored", "coordinator/core/run_queue.cc",
     "if (reservation != nullptr && reservation->holder() != submitter) continue;",
     "if (reservation != nullptr && reservation->holder() != submitter && !MUTATED) continue;"),
    ("quarantine_ignored", "coordinator/core/run_queue.cc",
     "if (device->quarantined()) {",
     "if (device->quarantined() && !MUTATED) {"),
    ("repetition_twice", "coordinator/core/run_queue.cc",
     "if (!placement.groups.contains(group) && !device.Refuses(*run->second)) {",
     "if ((MUTATED || !placement.groups.contains(group)) && !device.Refuses(*run->second)) {"),
    ("placement_forgotten", "coordinator/core/core.cc",
     "if (job->floats() && placed) {",
     "if (job->floats() && placed && !MUTATED) {"),
    ("job_limit_ignored", "coordinator/core/run_queue.cc",
     "if (lane->job->AtLimit()) continue;",
     "if (lane->job->AtLimit() && !MUTATED) continue;"),
    ("fleet_limit_ignored", "coordinator/core/scheduler.cc",
     "if (bound == 0 || (state_->active_runs",
     "if (MUTATED || bound == 0 || (state_->active_runs"),
    ("replayed_without_sync", "worker/agent/spool.cc",
     "  BALLAST_RETURN_IF_ERROR(disk_->SyncDirectory(directory));\n",
     "  if (!MUTATED) BALLAST_RETURN_IF_ERROR(disk_->SyncDirectory(directory));\n"),
    ("seq_restarted", "worker/agent/spool.cc",
     "attempt.next_seq = files.next_seq;",
     "attempt.next_seq = MUTATED ? 2 : files.next_seq;"),
    ("beginning_deleted", "worker/agent/spool.cc",
     "for (std::size_t i = 1; i + 1 < attempt->segments.size();) {",
     "for (std::size_t i = MUTATED ? 0 : 1; i + 1 < attempt->segments.size();) {"),
    ("drained_gets_runs", "coordinator/core/scheduler.cc",
     "device.online() && !device.device.drained() &&",
     "device.online() && (MUTATED || !device.device.drained()) &&"),
    ("late_start_dropped", "coordinator/core/ingest.cc",
     "if (NoteStart(record.started(), attempt, &run->run))",
     "if (!MUTATED && NoteStart(record.started(), attempt, &run->run))"),
    ("removals_wait", "worker/agent/spool_writer.cc",
     "  RemoveWhatWaits(lock);\n",
     "  if (!MUTATED) RemoveWhatWaits(lock);\n"),
    ("segment_entry_not_synced", "worker/agent/spool_writer.cc",
     "if (new_segment) BALLAST_RETURN_IF_ERROR(",
     "if (new_segment && !MUTATED) BALLAST_RETURN_IF_ERROR("),
]


def main():
    root, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    listed = set(re.findall(r'"(\w+)"', (root / "tests/simulation/mutation.h").read_text()))
    texts = {}
    for name, source, old, new in PLANTED:
        if name not in listed:
            sys.exit(f"{__file__}: {name} is not listed in mutation.h")
        text = texts.setdefault(source, (root / source).read_text())
        if text.count(old) != 1:
            sys.exit(f"{__file__}: {name}: {source} has {text.count(old)} times: {old.strip()}")
        texts[source] = text.replace(old, new.replace("MUTATED", f'::ballast::simulation::Mutated("{name}")'))
    for source, text in texts.items():
        target = out / source
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text('#include "tests/simulation/mutation.h"\n' + text)


if __name__ == "__main__":
    main()
