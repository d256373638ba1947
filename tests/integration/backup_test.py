"""Copies of the database that are taken while a fleet writes to it, and what they restore to."""

import os
import sqlite3
import subprocess
import sys
import unittest

from fleet import BIN, Coordinator, FleetTest, program, query

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))

from fleet_generator import Generator  # noqa: E402  (the path must be known first)

WORKERS = 8


class BackupTest(FleetTest):
    def start_generator(self, workers=WORKERS):
        generator = Generator(os.path.join(BIN, "bench_fleet_load"), self.address, workers, 0)
        self.addCleanup(generator.close)
        self.ask(generator, "connect 50")
        return generator

    @staticmethod
    def ask(generator, command):
        generator.ask(command)
        return generator.answer()

    def coordinator_command(self, *arguments, timeout_s=60):
        return subprocess.run([program("ballast-coordinator"), *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)

    def read_witness(self, path):
        with open(path, encoding="ascii") as lines:
            return [(run, int(attempt), int(seq)) for run, attempt, seq in map(str.split, lines)]

    def test_taken_under_load_holds_every_acknowledged_chunk(self):
        coordinator = self.start_coordinator()
        generator = self.start_generator()
        self.ask(generator, f"chunks {WORKERS} 2 0")
        quiet = self.ask(generator, "measure 2")
        copy = self.path("copy.db")
        for round_number in range(3):
            witness = self.path(f"witness-{round_number}")
            told = self.ask(generator, f"witness {witness}")
            self.assertGreater(told["records"], WORKERS)
            generator.ask("measure 2")
            done = self.coordinator_command("backup", copy, "--data-dir", coordinator.directory, *(["--force"] if round_number else []))
            during = generator.answer()
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"{copy} holds {coordinator.database}", done.stdout)
            print(f"backup {round_number}: chunk to acknowledgement p50 {during['ack_ms']['p50']:.1f} ms, p99 {during['ack_ms']['p99']:.1f} ms, max "
                  f"{during['ack_ms']['max']:.1f} ms (before: {quiet['ack_ms']['p50']:.1f}, {quiet['ack_ms']['p99']:.1f}, {quiet['ack_ms']['max']:.1f})")  # fmt: skip
            self.assertGreater(during["chunks_per_second"], 0, "nothing was stored meanwhile")
            self.check_copy(copy, self.read_witness(witness))
        self.ask(generator, "end")
        self.assertEqual(coordinator.terminate(), 0)
        self.assertFalse([name for name in os.listdir(self.directory) if "partial" in name])

        restored = self.path("restored")
        done = self.coordinator_command("restore", copy, "--data-dir", restored)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_copy(os.path.join(restored, "ballast.db"), self.read_witness(witness))
        again = Coordinator(restored)
        self.addCleanup(again.close)
        self.address = again.address
        runs = self.ballast("runs", "list", "--output", "json")
        self.assertEqual(len(runs.json["runs"]), WORKERS)

    def check_copy(self, file, witness):
        """Every acknowledged chunk is in the copy, and so is what it belongs to."""
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        self.assertEqual(connection.execute("PRAGMA foreign_key_check").fetchall(), [])
        for run_id, attempt, acked in witness:
            stored = {seq for (seq,) in connection.execute("SELECT seq FROM chunks WHERE run_id = ? AND attempt = ?", (run_id, attempt))}
            missing = set(range(2, acked + 1)) - stored  # 1 is `started`
            self.assertFalse(missing, f"{run_id}: of {acked} acknowledged records")

    def test_refusals_name_the_next_step(self):
        coordinator = self.start_coordinator()
        copy = self.path("copy.db")

        def refused(code, what, *arguments):
            done = self.coordinator_command(*arguments)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(what, done.stderr)
            self.assertIn("  try: ", done.stderr)

        refused(1, "there is no such file", "backup", copy, "--data-dir", self.path("nowhere"))
        refused(1, f"there is no directory {self.path('nope')}\n  try: make that directory", "backup", self.path("nope/1.db"), "--data-dir",
                coordinator.directory)  # fmt: skip
        refused(2, "FILE", "backup", "--data-dir", coordinator.directory)
        self.assertEqual(self.coordinator_command("backup", copy, "--data-dir", coordinator.directory).returncode, 0)
        refused(1, "exists already", "backup", copy, "--data-dir", coordinator.directory)
        refused(1, "is in use by process", "restore", copy, "--data-dir", coordinator.directory)
        refused(1, "is in use by process", "compact", "--data-dir", coordinator.directory)
        self.assertEqual(coordinator.terminate(), 0)
        refused(1, "exists already", "restore", copy, "--data-dir", coordinator.directory)
        refused(1, "is no database", "restore", __file__, "--data-dir", self.path("new"))
        self.assertFalse(os.path.exists(self.path("new")), "a directory is left of a restore that failed")
        done = self.coordinator_command("compact", "--data-dir", coordinator.directory)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.coordinator_command("backup", "--help").returncode, 0)
        self.assertEqual(query(coordinator.database, "PRAGMA auto_vacuum"), [(2,)])


if __name__ == "__main__":
    unittest.main()
