"""Disks that are full, may not be written, or lie: nothing that was acknowledged is lost, everybody is told what is wrong, and all goes on by itself."""

import json
import os
import shutil
import subprocess
import sys
import unittest

import namespaces
from fleet import MIB, Coordinator, FleetTest, Worker, query, wait_until
from fleet_check import FleetCheck, SpoolWitness, read_spool


def job_of(steps):
    return ("simple", "--mode", "staircase", "--step-size", "2", "--interval", "1", "--steps", str(steps), "--baseline", "0", "--recovery", "0")


SMALL = job_of(1)


class DiskTest(FleetTest):
    """One coordinator and one worker, each in a directory that a test may make a file system of its own before."""

    def setUp(self):
        super().setUp()
        self.coordinator = None
        self.worker = None

    def small_disk(self, name):
        disk = namespaces.SmallDisk(self.path(name), 32 * MIB)
        self.addCleanup(disk.unmount)
        print(f"  {disk.kind}", file=sys.stderr, flush=True)
        return disk

    def begin(self):
        # After the disks, so that it comes before they go.
        self.addCleanup(lambda: [one.close() for one in (self.worker, self.coordinator) if one])
        self.begin_coordinator()
        self.begin_worker()
        self.wait_for_device("dev-1")
        self.witness = SpoolWitness(self.path("witness"), {"dev-1": self.worker.directory})
        self.addCleanup(self.witness.close)

    def begin_coordinator(self):
        if self.coordinator:
            self.coordinator.close()
        self.coordinator = Coordinator(self.path("coordinator"), self.address or "127.0.0.1:0", "--heartbeat-interval", "0.2", "--offline-after", "2s")
        self.address = self.coordinator.address

    def begin_worker(self):
        self.worker = Worker(self.path("worker"), self.address, "dev-1", "", "--reconnect-max", "0.5s")

    def refused_coordinator(self):
        """What a coordinator says that cannot start."""
        with open(self.coordinator.log_path, "rb") as log:
            log.seek(0, os.SEEK_END)
            with self.assertRaisesRegex(AssertionError, "did not start .*exit code 1"):
                self.begin_coordinator()
            return log.read().decode()

    def begin_run(self, steps):
        job = self.submit(*job_of(steps))
        self.wait_for_run(job + ".1", "RUNNING")
        return job

    def records_of_the_device(self):
        return json.loads(self.ballast("devices", "show", "dev-1", "--output", "json").out).get("storage_problem", "")

    def outcome_of(self, job):
        return self.watch(job)["runs"][0]["run"]["outcome"]["kind"]

    def wait_for_log(self, program, text, since=0, timeout_s=20):
        wait_until(lambda: text in program.log()[since:], timeout_s, f"{text!r} in {program.log_path}")

    def records(self):
        return read_spool(os.path.join(self.worker.directory, "spool"))[0]

    def wait_for_the_end_on_the_device(self):
        wait_until(lambda: any(record.kind == "finished" for record in self.records()), 30, "the end of the run in the spool")

    def assert_clear(self, result, *words):
        self.assertEqual(result.code, 3, result.err)
        for word in (*words, "it goes on by itself once it can", "  try: "):
            self.assertIn(word, result.err)
        self.assertIn("lists and reports can be read meanwhile", result.err)

    def check(self, running=False):
        if not running:
            wait_until(lambda: not self.records(), 20, "an empty spool")
            self.witness.close()
        check = FleetCheck(self.coordinator.database, [self.worker.directory], self.path("witness"), running)
        self.assertEqual(check.check(), [])
        print(f"  {check.figures}", file=sys.stderr, flush=True)
        return check.figures


class FullDiskTest(DiskTest):
    @classmethod
    def setUpClass(cls):
        namespaces.enter_mounts()

    def test_of_the_coordinator(self):
        disk = self.small_disk("coordinator")
        self.begin()
        job = self.begin_run(6)
        disk.fill()
        self.wait_for_log(self.coordinator, "database or disk is full")
        self.assert_clear(self.ballast(*SMALL, "--detach"), "database or disk is full", "free some disk space")
        listed = self.ballast("jobs", "list", "--output", "json")
        self.assertEqual([(entry["job_id"], entry["state"]) for entry in listed.json["jobs"]], [(job, "RUNNING")])
        self.wait_for_log(self.worker, "cannot store anything at the moment")
        self.wait_for_the_end_on_the_device()
        self.assertEqual(query(self.coordinator.database, "select count(*) from chunks"), [(0,)])
        self.check(running=True)  # nothing was acknowledged that is not stored

        # Killed now, it does not start before there is space, and says so.
        self.coordinator.kill()
        said = self.refused_coordinator()
        self.assertIn("database or disk is full", said)
        self.assertIn("  try: free space on the disk of --data-dir", said)
        disk.free()
        self.begin_coordinator()
        self.assertEqual(self.outcome_of(job), "COMPLETED")

        # Without a restart, too.
        self.wait_for_device("dev-1", ("READY",))
        job = self.begin_run(3)
        seen = len(self.coordinator.log())
        disk.fill()
        self.wait_for_log(self.coordinator, "database or disk is full", since=seen)
        self.wait_for_the_end_on_the_device()
        disk.free()
        self.wait_for_log(self.coordinator, "the store can be written again", since=seen)
        self.assertEqual(self.outcome_of(job), "COMPLETED")
        figures = self.check()
        self.assertEqual((figures.attempts, figures.lost_samples), (2, 0))

    def test_of_the_worker(self):
        disk = self.small_disk("worker")
        self.begin()
        job = self.begin_run(6)
        disk.fill()
        self.wait_for_log(self.worker, "No space left on device; records wait in memory until the disk takes them")
        self.wait_for_log(self.worker, "COMPLETED")
        self.assertEqual(self.runs_of(job)[0]["state"], "RUNNING", "an end that is not on the device's disk is told to nobody")
        self.assertIn("No space left on device", self.records_of_the_device())
        next_job = self.submit(*SMALL)
        self.check(running=True)
        disk.free()
        self.wait_for_log(self.worker, "the disk takes records again")
        self.assertEqual(self.outcome_of(job), "COMPLETED")
        self.assertEqual(self.outcome_of(next_job), "COMPLETED")
        wait_until(lambda: self.records_of_the_device() == "", 20, "a heartbeat that says nothing of the disk")
        figures = self.check()
        self.assertEqual((figures.attempts, figures.lost_samples), (2, 0))

    def test_of_the_worker_when_it_dies_meanwhile(self):
        """What only waited in memory is gone with it; what was on disk comes, and the run ends."""
        disk = self.small_disk("worker")
        self.begin()
        job = self.begin_run(60)
        wait_until(lambda: query(self.coordinator.database, "select count(*) from chunks") == [(1,)], 20, "the first chunk")
        disk.fill()
        self.wait_for_log(self.worker, "No space left on device")
        self.worker.kill()
        seen = len(self.worker.log())
        self.begin_worker()
        self.wait_for_log(self.worker, "connected to coordinator", since=seen)
        self.assertEqual(self.runs_of(job)[0]["state"], "RUNNING", "its end is not on the disk yet")
        disk.free()
        self.assertEqual(self.outcome_of(job), "WORKER_CRASHED")
        self.assertEqual(self.outcome_of(self.submit(*SMALL)), "COMPLETED")
        self.check()


class DatabaseTest(DiskTest):
    def test_that_may_not_be_written_any_more(self):
        self.begin()
        files = [self.coordinator.database, self.coordinator.database + "-wal"]

        def mark(sign):
            return subprocess.run(["chattr", sign + "i", *files], capture_output=True, text=True, timeout=10, check=False)

        job = self.begin_run(4)
        self.addCleanup(mark, "-")
        done = mark("+")
        if done.returncode != 0:
            self.skipTest(f"this file system has no immutable files: {done.stderr.strip()}")
        self.wait_for_log(self.coordinator, "the store failed: database " + self.coordinator.database)
        self.assert_clear(self.ballast(*SMALL, "--detach"), "database " + self.coordinator.database)
        self.assertEqual(self.ballast("jobs", "list").code, 0)
        self.wait_for_the_end_on_the_device()
        self.check(running=True)
        self.coordinator.kill()
        said = self.refused_coordinator()
        self.assertIn("error: database " + self.coordinator.database, said)
        self.assertIn("  try: ", said)
        self.assertEqual(mark("-").returncode, 0)
        self.begin_coordinator()
        self.assertEqual(self.outcome_of(job), "COMPLETED")
        self.check()

    def test_that_is_damaged_and_restored(self):
        self.begin()
        self.assertEqual(self.outcome_of(self.submit(*SMALL)), "COMPLETED")
        job = self.begin_run(4)
        copy = self.path("copy.db")
        subprocess.run(["sqlite3", self.coordinator.database, f".backup {copy}"], timeout=20, check=True)
        self.assertEqual(self.coordinator.terminate(), 0)
        size = os.path.getsize(self.coordinator.database)
        for begin, end in ((0, 100), (4096, size), (size // 2, size)):
            with self.subTest(f"bytes {begin} to {end}"):
                shutil.copy(copy, self.coordinator.database)
                with open(self.coordinator.database, "r+b") as database:
                    database.seek(begin)
                    database.write(b"\xa5" * (end - begin))
                with open(self.coordinator.database, "rb") as database:
                    damaged = database.read()
                said = self.refused_coordinator()
                self.assertRegex(said, "error: database .*(file is not a database|malformed)")
                self.assertIn("restore a copy", said)
                self.assertIn("  try: put a copy of the database in its place", said)
                with open(self.coordinator.database, "rb") as database:
                    self.assertEqual(database.read(), damaged, "what is left can still be recovered")
        shutil.copy(copy, self.coordinator.database)
        self.begin_coordinator()
        self.assertEqual(self.outcome_of(job), "COMPLETED")
        self.assertEqual(self.outcome_of(self.submit(*SMALL)), "COMPLETED")
        self.assertEqual(self.check().attempts, 3)

    def test_that_is_a_copy_from_before_a_job(self):
        """What such a database does not know is ended on the device, and its evidence is set aside there."""
        self.begin()
        self.assertEqual(self.outcome_of(self.submit(*SMALL)), "COMPLETED")
        copy = self.path("copy.db")
        subprocess.run(["sqlite3", self.coordinator.database, f".backup {copy}"], timeout=20, check=True)
        job = self.begin_run(60)
        self.assertEqual(self.coordinator.terminate(), 0)
        shutil.copy(copy, self.coordinator.database)
        self.begin_coordinator()
        set_aside = os.path.join(self.worker.directory, "set_aside", job + ".1@1")
        wait_until(lambda: os.path.isdir(set_aside) and not os.listdir(os.path.join(self.worker.directory, "spool")), 30, "the records to be set aside")
        self.wait_for_device("dev-1", ("READY",))
        self.assertEqual(self.outcome_of(self.submit(*SMALL)), "COMPLETED")
        self.assertEqual(FleetCheck(self.coordinator.database, []).check(), [])


if __name__ == "__main__":
    unittest.main()
