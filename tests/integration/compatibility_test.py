"""What the release said and kept is served by the programs built now: a recorded session of its worker, and its files in mid-run."""

import base64
import collections
import contextlib
import glob
import json
import os
import pathlib
import queue
import shutil
import sqlite3
import sys
import unittest

from fleet import ROOT, Coordinator, FleetTest, query, wait_until
from fleet_check import FleetCheck, proto_schema

import grpc_frames  # found by what fleet_check adds to the path

RELEASED = pathlib.Path(ROOT, "tests", "contract", "released")


class RecordedSessionTest(FleetTest):
    def setUp(self):
        super().setUp()
        self.released = proto_schema.load(RELEASED / "ballast.v1.binpb")  # how it was meant then
        self.recorded = []
        with open(RELEASED / "session.jsonl", encoding="ascii") as lines:
            for line in map(json.loads, lines):
                message = base64.b64decode(line["message"])
                kind = "WorkerMessage" if line["from"] == "worker" else "CoordinatorMessage"
                self.recorded.append((line["from"], message, self.released.decode("ballast.v1." + kind, message)))

    def receive(self, stream, kind):
        """The next message of this kind; others (acknowledgements) are noted on the way."""
        while True:
            try:
                message = stream.messages.get(timeout=20)
            except queue.Empty:
                raise AssertionError(f"no {kind} within 20 s") from None
            self.assertIsNotNone(message, f"the session ended before {kind}")
            decoded = self.released.decode("ballast.v1.CoordinatorMessage", message)
            for seq in decoded.get("ack", {}).get("seqs", []):
                self.acknowledged[seq] += 1
            if kind in decoded:
                return decoded[kind]

    def test_a_recorded_session_is_served(self):
        self.acknowledged = collections.Counter()
        coordinator = self.start_coordinator()
        stream = grpc_frames.BidiStream(self.address, "/ballast.v1.WorkerService/Connect")
        self.addCleanup(stream.close)
        assignment = next(decoded["assignment"] for side, _, decoded in self.recorded if side == "coordinator" and "assignment" in decoded)
        sent, run_id, job = [], "", None
        for side, message, decoded in self.recorded:
            if side == "worker":
                if "record" in decoded:
                    # A run's name has as many characters whenever it is given, so the bytes around it stay as they were recorded.
                    message = message.replace(assignment["run_id"].encode(), run_id.encode())
                    sent.append(self.released.decode("ballast.v1.WorkerMessage", message)["record"])
                stream.send(message)
            elif "welcome" in decoded:
                self.receive(stream, "welcome")
                self.wait_for_device("dev-1")
                with open(self.path("job.yaml"), "w", encoding="utf-8") as file:
                    file.write("workload: {pressure: {staircase: {step_size_bytes: 1MiB, interval: 1, steps: 6}, baseline: 0, recovery: 0}}\n"
                               "devices: {labels: {class: recorded}}\n")
                job = self.submit("submit", self.path("job.yaml"))
            elif "assignment" in decoded:
                run_id = self.receive(stream, "assignment")["run_id"]
                self.assertEqual(len(run_id), len(assignment["run_id"]))
        seqs = [record["seq"] for record in sent]
        self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
        self.assertGreaterEqual(len(seqs), 4, "a beginning, two chunks and an end were recorded")
        while set(self.acknowledged) != set(seqs):
            self.receive(stream, "ack")

        self.watch(job)

        # The acknowledgements were lost, say: the worker comes again, and sends all of it again.
        stream.close()
        self.acknowledged.clear()
        stream = grpc_frames.BidiStream(self.address, "/ballast.v1.WorkerService/Connect")
        self.addCleanup(stream.close)
        for side, message, decoded in self.recorded:
            if side == "worker" and ("hello" in decoded or "record" in decoded):
                stream.send(message.replace(assignment["run_id"].encode(), run_id.encode()))
            if side == "worker" and "hello" in decoded:
                self.receive(stream, "welcome")
        while set(self.acknowledged) != set(seqs):
            self.receive(stream, "ack")

        run = self.watch(job)["runs"][0]["run"]
        recorded_result = sent[-1]["finished"]["result"]
        self.assertEqual((run["state"], run["outcome"]["kind"]), ("ENDED", "COMPLETED"))
        self.assertEqual(run["outcome"]["message"], recorded_result["outcome"]["message"])
        self.assertEqual(run["attempts"][0]["result"]["peak_held_bytes"], recorded_result["peak_held_bytes"])
        self.assertEqual(len(run["attempts"][0]["result"]["steps"]), 6)
        stream.close()
        self.assertEqual(coordinator.terminate(), 0)
        check = FleetCheck(coordinator.database, [])
        self.assertEqual(check.check(), [])
        self.assertEqual(check.figures.chunks, len(seqs) - 2)
        self.assertEqual(check.figures.samples, recorded_result["sample_count"])


class UpgradeTest(FleetTest):
    def restore(self):
        """What the release kept in mid-run, on both sides."""
        os.mkdir(self.path("coordinator"))
        with contextlib.closing(sqlite3.connect(self.path("coordinator/ballast.db"))) as database:
            database.executescript((RELEASED / "database.sql").read_text(encoding="utf-8"))
        os.mkdir(self.path("worker-dev-1"))
        shutil.copytree(RELEASED / "spool", self.path("worker-dev-1/spool"))

    def test_what_the_release_kept_in_mid_run_is_taken_over(self):
        self.restore()
        coordinator = self.start_coordinator()
        ((run_id, message),) = query(coordinator.database, "select run_id, message from runs")
        released = proto_schema.load(RELEASED / "ballast.v1.binpb").decode("ballast.v1.Run", message)
        self.assertEqual(released["state"], "RUNNING")
        job = released["job_id"]
        self.assertEqual(self.runs_of(job)[0]["state"], "RUNNING", "its device may have it still")
        worker = self.start_worker("dev-1", "class=recorded")
        run = self.watch(job)["runs"][0]["run"]
        # The attempt was cut off (by another boot than that of the recording, as a rule); what was on disk comes, and the next attempt is carried out.
        kinds = [attempt["result"]["outcome"]["kind"] for attempt in run["attempts"]]
        self.assertIn(kinds, (["DEVICE_REBOOTED", "COMPLETED"], ["WORKER_CRASHED", "COMPLETED"]))
        self.assertGreaterEqual(run["attempts"][0]["result"]["sample_count"], 20, "five seconds, four times each, were on disk")
        self.assertEqual(run["run_id"], run_id)
        wait_until(lambda: not glob.glob(os.path.join(worker.directory, "spool", "*")), 10, "an empty spool")
        self.assertEqual(query(coordinator.database, "select count(*) from schema_version"), [(1,)])
        self.assertEqual(coordinator.terminate(), 0)
        check = FleetCheck(coordinator.database, [worker.directory])
        self.assertEqual(check.check(), [])
        print(f"  {check.figures}", file=sys.stderr, flush=True)

    def test_a_database_of_a_version_to_come_is_left_alone(self):
        self.restore()
        path = self.path("coordinator/ballast.db")
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("update schema_version set version = 1000, oldest_compatible_version = 1000")
            database.commit()
        before = pathlib.Path(path).read_bytes()
        with self.assertRaises(AssertionError) as refused:
            self.start_coordinator()
        self.assertIn("version 1000", str(refused.exception))
        self.assertIn("  try: ", str(refused.exception))
        self.assertEqual(pathlib.Path(path).read_bytes(), before)


class SchemaTest(FleetTest):
    """The coordinator is replaced in mid-run by one whose schema is a version ahead."""

    LONG = ("simple", "--mode", "staircase", "--step-size", "2", "--interval", "1", "--steps", "8", "--baseline", "0", "--recovery", "0")

    def replace(self, coordinator, name="other_coordinator", schema=""):
        self.assertEqual(coordinator.terminate(), 0)
        coordinator.close()
        coordinator = Coordinator(coordinator.directory, self.address, "--heartbeat-interval", "0.2", name=name,
                                  environment={"BALLAST_TEST_SCHEMA": schema})  # fmt: skip
        self.addCleanup(coordinator.close)
        return coordinator

    def begin(self):
        coordinator = self.start_coordinator("--heartbeat-interval", "0.2")
        worker = self.start_worker("dev-1", "", "--reconnect-max", "0.5s")
        job = self.submit(*self.LONG)
        waiting = self.submit(*self.LONG[:6], "0.2", "--steps", "1", "--baseline", "0", "--recovery", "0")
        # Rows in every table.
        wait_until(lambda: query(coordinator.database, "select count(*) from chunks") == [(1,)], 30, "a chunk")
        return coordinator, worker, job, waiting

    def finish(self, coordinator, worker, job, waiting):
        for one in (job, waiting):
            run = self.watch(one)["runs"][0]["run"]
            self.assertEqual((run["outcome"]["kind"], len(run["attempts"])), ("COMPLETED", 1))
        wait_until(lambda: not glob.glob(os.path.join(worker.directory, "spool", "*")), 10, "an empty spool")
        self.assertEqual(FleetCheck(coordinator.database, [worker.directory]).check(), [])

    def test_a_step_that_adds_and_the_way_back(self):
        coordinator, worker, job, waiting = self.begin()
        runner = worker.runner_pid()
        version, oldest = query(coordinator.database, "select version, oldest_compatible_version from schema_version")[0]
        coordinator = self.replace(coordinator, schema="added")
        self.wait_for_device("dev-1", ("BUSY",))
        self.assertEqual(worker.runner_pid(), runner, "the run did not notice")
        self.assertEqual(query(coordinator.database, "select version, oldest_compatible_version from schema_version"), [(version + 1, oldest)])
        self.assertEqual(query(coordinator.database, "select chunk_count from labs"), [(1,)])
        # A program of the version before still serves what the step has added to.
        coordinator = self.replace(coordinator, name="ballast-coordinator")
        self.finish(coordinator, worker, job, waiting)
        self.assertEqual(query(coordinator.database, "select version from schema_version"), [(version + 1,)])
        self.assertEqual(query(coordinator.database, "select distinct lab from runs"), [("here",)])

    def test_a_step_that_changes_leads_no_way_back(self):
        coordinator, worker, job, waiting = self.begin()
        coordinator = self.replace(coordinator, schema="changed")
        self.finish(coordinator, worker, job, waiting)
        with self.assertRaises(AssertionError) as refused:
            self.replace(coordinator, name="ballast-coordinator")
        self.assertIn("install a newer ballast-coordinator", str(refused.exception))
        self.assertEqual(FleetCheck(coordinator.database, [worker.directory]).check(), [])


class DrainTest(FleetTest):
    """An upgrade in the order in which a person does it: drain, wait, replace, resume; and the coordinator at any time."""

    LONG = ("simple", "--mode", "staircase", "--step-size", "2", "--interval", "1", "--steps", "6", "--baseline", "0", "--recovery", "0")
    SMALL = ("simple", "--mode", "staircase", "--step-size", "2", "--interval", "0.2", "--steps", "2", "--baseline", "0", "--recovery", "0")

    def test_a_drained_device_ends_its_run_is_replaced_and_goes_on(self):
        coordinator = self.start_coordinator("--heartbeat-interval", "0.2")
        worker = self.start_worker("dev-1")
        running = self.submit(*self.LONG)
        waiting = self.submit(*self.SMALL)
        self.wait_for_run(running + ".1", "RUNNING")
        runner = worker.runner_pid()
        self.assertEqual(self.ballast("devices", "drain", "dev-1").code, 0)
        # The coordinator is replaced meanwhile: the run does not notice, and drained stays drained.
        self.assertEqual(coordinator.terminate(), 0)
        coordinator = self.start_coordinator("--heartbeat-interval", "0.2", listen=self.address)
        self.wait_for_device("dev-1", ("DRAINING",))
        self.assertEqual(worker.runner_pid(), runner)
        run = self.watch(running)["runs"][0]["run"]
        self.assertEqual((run["outcome"]["kind"], len(run["attempts"])), ("COMPLETED", 1))
        self.assertEqual(self.runs_of(waiting)[0]["state"], "QUEUED")
        self.assertEqual(worker.terminate(), 0)
        self.wait_for_device("dev-1", ("OFFLINE",))
        worker = self.start_worker("dev-1", wait=False)
        self.wait_for_device("dev-1", ("DRAINING",))
        self.assertEqual(self.runs_of(waiting)[0]["state"], "QUEUED")
        self.assertEqual(self.ballast("devices", "resume", "dev-1").code, 0)
        self.assertEqual(self.watch(waiting)["runs"][0]["run"]["outcome"]["kind"], "COMPLETED")
        wait_until(lambda: not glob.glob(os.path.join(worker.directory, "spool", "*")), 10, "an empty spool")
        self.assertEqual(FleetCheck(coordinator.database, [worker.directory]).check(), [])

    def test_an_upgrade_of_the_worker_in_mid_run_costs_an_attempt_and_no_result(self):
        coordinator = self.start_coordinator("--heartbeat-interval", "0.2")
        worker = self.start_worker("dev-1")
        with open(self.path("job.yaml"), "w", encoding="utf-8") as file:
            file.write("workload: {pressure: {staircase: {step_size_bytes: 2MiB, interval: 0.5, steps: 4}, baseline: 0, recovery: 0}}\n"
                       "policy: {max_attempts: 2}\n")  # fmt: skip
        job = self.submit("submit", self.path("job.yaml"))
        self.wait_for_run(job + ".1", "RUNNING")
        self.assertEqual(worker.terminate(), 0)
        worker = self.start_worker("dev-1")
        run = self.watch(job)["runs"][0]["run"]
        self.assertEqual([attempt["result"]["outcome"]["kind"] for attempt in run["attempts"]], ["WORKER_CRASHED", "COMPLETED"])
        wait_until(lambda: not glob.glob(os.path.join(worker.directory, "spool", "*")), 10, "an empty spool")
        self.assertEqual(FleetCheck(coordinator.database, [worker.directory]).check(), [])


if __name__ == "__main__":
    unittest.main()
