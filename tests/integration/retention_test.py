"""Retention with real programs: thinning and removing while a fleet writes, and a coordinator that is killed meanwhile."""

import collections
import os
import sys
import unittest

from fleet import BIN, Coordinator, FleetTest, query, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))

from fleet_generator import Generator  # noqa: E402  (the path must be known first)

WORKERS = 4
STALL_MS = 2000  # far above what a step takes, and far below what thinning all at once would


class RetentionTest(FleetTest):
    def start(self, retention=""):
        config = self.path("coordinator.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write("log_level: info\n" + (f"retention:\n{retention}" if retention else ""))
        coordinator = Coordinator(self.path("coordinator"), "127.0.0.1:0", "--config", config)
        self.addCleanup(coordinator.close)
        self.address = coordinator.address
        return coordinator

    def start_generator(self, first=0):
        generator = Generator(os.path.join(BIN, "bench_fleet_load"), self.address, WORKERS, first)
        self.addCleanup(generator.close)
        self.ask(generator, "connect 50")
        return generator

    @staticmethod
    def ask(generator, command):
        generator.ask(command)
        return generator.answer()

    def make_history(self, jobs=2, seconds=2):
        """Ended runs with chunks: {run_id: seqs}, and the coordinator is stopped."""
        coordinator = self.start()
        generator = self.start_generator()
        for _ in range(jobs):
            self.ask(generator, f"chunks {WORKERS} 8 0")
            self.ask(generator, f"measure {seconds}")
            self.ask(generator, "end")
        generator.close()
        self.assertEqual(coordinator.terminate(), 0)
        history = collections.defaultdict(set)
        for run_id, seq in query(coordinator.database, "SELECT run_id, seq FROM chunks"):
            history[run_id].add(seq)
        self.assertEqual(len(history), jobs * WORKERS)
        self.rollups = self.rollups_of(coordinator.database, history)
        return dict(history)

    @staticmethod
    def rollups_of(database, runs):
        marks = ",".join("?" * len(runs))
        return query(database, f"SELECT * FROM rollups WHERE run_id IN ({marks}) ORDER BY run_id, attempt, metric_id", *runs)

    def whole_chunks(self, database, history):
        marks = ",".join("?" * len(history))
        return query(database, f"SELECT count(*) FROM chunks WHERE run_id IN ({marks})", *history)[0][0]

    def check_nothing_is_half_done(self, database, history):
        """Every chunk that was stored is there, or a summary stands for it; never both."""
        marks = ",".join("?" * len(history))
        found = collections.defaultdict(list)
        for run_id, seq in query(database, f"SELECT run_id, seq FROM chunks WHERE run_id IN ({marks})", *history):
            found[run_id].append(seq)
        for run_id, first, last in query(database, f"SELECT run_id, first_seq, last_seq FROM thinned_chunks WHERE run_id IN ({marks})", *history):
            found[run_id] += range(first, last + 1)
        for run_id, seqs in history.items():
            self.assertEqual(len(found[run_id]), len(set(found[run_id])), f"{run_id}: a chunk is there and has a summary, too")
            self.assertEqual(set(found[run_id]), seqs, run_id)
        self.assertEqual(self.rollups_of(database, history), self.rollups)
        self.assertEqual(query(database, "PRAGMA integrity_check"), [("ok",)])

    def test_thins_while_a_fleet_writes(self):
        history = self.make_history()
        coordinator = self.start("  samples: 1s\n  interval: 1s\n  summary_interval: 60s\n")
        generator = self.start_generator(first=100)
        self.ask(generator, f"chunks {WORKERS} 2 0")
        longest = 0

        def thinned():
            nonlocal longest
            during = self.ask(generator, "measure 2")
            self.assertGreater(during["chunks_per_second"], 0, "nothing was stored meanwhile")
            longest = max(longest, during["ack_ms"]["max"])
            return self.whole_chunks(coordinator.database, history) == 0

        wait_until(thinned, 60, "the samples to be thinned")
        print(f"longest time from a chunk to its acknowledgement while {sum(map(len, history.values()))} chunks were thinned: {longest:.0f} ms")
        self.assertLess(longest, STALL_MS)
        self.check_nothing_is_half_done(coordinator.database, history)
        self.ask(generator, "end")

        run_id = min(history)
        run = self.ballast("runs", "show", run_id, "--output", "json").json
        self.assertIn("samples_thinned_time", run)
        samples = self.ballast("runs", "samples", run_id, "--metric", "mem_available_bytes")
        self.assertEqual(samples.code, 0, samples.err)
        self.assertIn("thinned", samples.err)
        rows = samples.out.splitlines()[1:]
        self.assertGreater(len(rows), 1)
        self.assertLess(len(rows), len(history[run_id]))
        self.assertNotIn("", [row.split(",")[1] for row in rows])
        report = self.ballast("report", run_id, "--output", "json")
        self.assertEqual(report.code, 0, report.err)
        self.assertTrue(any("thinned" in warning for warning in report.json["warnings"]), report.json["warnings"])

    def test_killed_in_the_middle_nothing_is_half_done(self):
        history = self.make_history()
        retention = "  samples: 1s\n  interval: 1s\n  summary_interval: 10s\n"
        before = sum(map(len, history.values()))
        for _ in range(3):
            coordinator = self.start(retention)
            wait_until(lambda c=coordinator, b=before: self.whole_chunks(c.database, history) < b, 30, "a step of thinning")
            coordinator.kill()
            self.check_nothing_is_half_done(coordinator.database, history)
            before = self.whole_chunks(coordinator.database, history)
            if before == 0:
                break
        coordinator = self.start(retention)
        wait_until(lambda: self.whole_chunks(coordinator.database, history) == 0, 60, "the samples to be thinned")
        self.check_nothing_is_half_done(coordinator.database, history)
        self.assertEqual(coordinator.terminate(), 0)

    def test_removes_old_jobs_but_not_the_newest(self):
        history = self.make_history(jobs=3, seconds=1)
        coordinator = self.start("  jobs: 1s\n  interval: 1s\n")
        wait_until(lambda: query(coordinator.database, "SELECT count(*) FROM jobs") == [(1,)], 60, "two jobs to be removed")
        newest = query(coordinator.database, "SELECT max(job_id) FROM jobs")[0][0]
        left = {run_id for (run_id,) in query(coordinator.database, "SELECT run_id FROM runs")}
        self.assertEqual(left, {run_id for run_id in history if run_id.startswith(newest + ".")})
        for table in ("chunks", "rollups"):
            self.assertEqual({run_id for (run_id,) in query(coordinator.database, f"SELECT DISTINCT run_id FROM {table}")}, left)
        self.assertEqual(self.ballast("jobs", "show", min(history).split(".")[0]).code, 4)
        self.assertEqual(query(coordinator.database, "PRAGMA foreign_key_check"), [])


if __name__ == "__main__":
    unittest.main()
