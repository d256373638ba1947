"""SIGKILL of each program in mid-run: one outcome a run, nothing acknowledged is lost, nothing is applied twice."""

import glob
import os
import signal
import unittest

from fleet import FleetTest, children_of, process_exists, query, wait_until

LONG = ("simple", "--mode", "staircase", "--step-size", "8", "--interval", "1", "--steps", "600", "--baseline", "0")
SHORT = ("simple", "--mode", "staircase", "--step-size", "4", "--interval", "0.5", "--steps", "16", "--baseline", "0")


class KillTest(FleetTest):
    def setUp(self):
        super().setUp()
        self.coordinator = self.start_coordinator("--heartbeat-interval", "0.2")
        self.worker = self.start_worker("dev-1")

    def wait_for_chunks(self, run_id, count):
        def enough():
            rows = query(self.coordinator.database, "select count(*) from chunks where run_id = ?", run_id)
            return rows[0][0] >= count

        wait_until(enough, 30, f"{count} chunks of {run_id}")

    def check_telemetry(self, run):
        """Every record between `started` and `finished` is a chunk in the database, once, and the device keeps nothing."""
        rows = query(self.coordinator.database, "select attempt, seq from chunks where run_id = ? order by attempt, seq", run["run_id"])
        self.assertEqual(len(rows), len(set(rows)))
        for attempt in {attempt for attempt, _ in rows}:
            seqs = [seq for a, seq in rows if a == attempt]
            self.assertEqual(seqs, list(range(2, 2 + len(seqs))), "records between the first and the last are chunks without a gap")
        offsets = self.ballast("report", run["run_id"], "--format", "json", "--output-dir", self.path("out"))
        self.assertEqual(offsets.code, 0, offsets.err)
        wait_until(lambda: not glob.glob(os.path.join(self.worker.directory, "spool", "*")), 10, "an empty spool")

    def outcome_of(self, job):
        report = self.watch(job)
        run = report["runs"][0]["run"]
        self.assertEqual(run["state"], "ENDED")
        series = report["runs"][0]["samples"]["offset_ms"]
        self.assertEqual(series, sorted(set(series)), "no sample stands twice")
        return run

    def test_of_the_runner(self):
        job = self.submit(*LONG)
        runner = self.worker.runner_pid()
        self.wait_for_chunks(job + ".1", 1)
        os.kill(runner, signal.SIGKILL)
        run = self.outcome_of(job)
        self.assertEqual(run["outcome"]["kind"], "WORKER_CRASHED")
        self.assertEqual(run["outcome"]["evidence"]["killer"], "UNKNOWN")
        self.assertEqual(run["outcome"]["evidence"]["signal"], signal.SIGKILL)
        self.assertGreater(len(run["attempts"][-1]["result"]["outcome"]["evidence"]["last_samples"]["offset_ms"]), 0)
        self.check_telemetry(run)
        self.assertTrue(process_exists(self.worker.pid))

    def test_of_the_worker(self):
        job = self.submit(*LONG)
        runner = self.worker.runner_pid()
        self.wait_for_chunks(job + ".1", 2)
        acknowledged = query(self.coordinator.database, "select attempt, seq from chunks where run_id = ?", job + ".1")
        self.worker.kill()
        wait_until(lambda: not process_exists(runner), 2, "the runner to die with its agent")
        self.wait_for_device("dev-1", ("OFFLINE",))
        self.worker = self.start_worker("dev-1")
        run = self.outcome_of(job)
        self.assertEqual(run["outcome"]["kind"], "WORKER_CRASHED")
        self.assertGreater(len(run["attempts"][-1]["result"]["outcome"]["evidence"]["last_samples"]["offset_ms"]), 0)
        after = query(self.coordinator.database, "select attempt, seq from chunks where run_id = ?", job + ".1")
        self.assertLessEqual(set(acknowledged), set(after))
        self.check_telemetry(run)

    def test_of_the_worker_with_another_attempt_allowed(self):
        with open(self.path("job.yaml"), "w", encoding="utf-8") as job_file:
            job_file.write("workload: {pressure: {staircase: {step_size_bytes: 4MiB, interval: 0.3, steps: 10}, baseline: 0}}\n"
                           "policy: {max_attempts: 2}\n")  # fmt: skip
        job = self.submit("submit", self.path("job.yaml"))
        self.worker.runner_pid()
        self.wait_for_run(job + ".1", "RUNNING")
        self.worker.kill()
        self.worker = self.start_worker("dev-1")
        run = self.outcome_of(job)
        self.assertEqual(run["outcome"]["kind"], "COMPLETED")
        self.assertEqual([attempt["attempt"] for attempt in run["attempts"]], [1, 2])
        self.assertEqual(run["attempts"][0]["result"]["outcome"]["kind"], "WORKER_CRASHED")

    def test_of_the_coordinator(self):
        job = self.submit(*SHORT)
        runner = self.worker.runner_pid()
        self.wait_for_chunks(job + ".1", 1)
        self.coordinator.kill()
        acknowledged = query(self.coordinator.database, "select attempt, seq from chunks where run_id = ?", job + ".1")
        self.assertTrue(process_exists(runner))
        self.coordinator = self.start_coordinator("--heartbeat-interval", "0.2", listen=self.address)
        self.wait_for_device("dev-1")
        self.assertIn(runner, children_of(self.worker.pid) + [runner] * (not process_exists(runner)))
        run = self.outcome_of(job)
        self.assertEqual(run["outcome"]["kind"], "COMPLETED")
        self.assertEqual(len(run["attempts"]), 1)
        after = query(self.coordinator.database, "select attempt, seq from chunks where run_id = ?", job + ".1")
        self.assertLessEqual(set(acknowledged), set(after))
        self.check_telemetry(run)
        self.assertEqual(query(self.coordinator.database, "pragma integrity_check"), [("ok",)])

    def test_of_the_coordinator_right_after_a_submission(self):
        job = self.submit(*SHORT)
        self.coordinator.kill()
        self.coordinator = self.start_coordinator("--heartbeat-interval", "0.2", listen=self.address)
        run = self.outcome_of(job)
        self.assertEqual(run["outcome"]["kind"], "COMPLETED")
        self.assertEqual(len(run["attempts"]), 1)


if __name__ == "__main__":
    unittest.main()
