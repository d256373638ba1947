"""Bad networks between one device and the coordinator, in network namespaces: cut, half-open, slow and lossy, and a coordinator that does not read.

BALLAST_CUT_SECONDS is how long the cut lasts (10). BALLAST_LONG_FAULTS=1 adds what takes minutes.
"""

import glob
import os
import signal
import sys
import time
import unittest

import namespaces
from fleet import Coordinator, FleetTest, Worker, process_exists, query, resident_bytes, wait_until
from fleet_check import FleetCheck, SpoolWitness, crc32c, frame, proto_schema, read_spool

CUT_S = float(os.environ.get("BALLAST_CUT_SECONDS", "10"))
LONG_FAULTS = os.environ.get("BALLAST_LONG_FAULTS") == "1"

JOB = ("workload: {{pressure: {{staircase: {{step_size_bytes: 2MiB, interval: 1, steps: {steps}}}, baseline: 0, recovery: 0}}}}\n"
       "guard: {{mode: OFF}}\ntelemetry: {{sample_interval: {interval}}}\npolicy: {{max_attempts: {attempts}}}\n")  # fmt: skip


def setUpModule():
    namespaces.enter_network()


class NetworkTest(FleetTest):
    def setUp(self):
        super().setUp()
        self.network = namespaces.DeviceNetwork()
        self.addCleanup(self.network.close)
        self.addCleanup(self.network.restore)
        self.coordinator = None
        self.worker = None
        self.addCleanup(lambda: [program.close() for program in (self.worker, self.coordinator) if program])
        self.begin_coordinator("0.0.0.0:0")
        self.port = int(self.coordinator.address.rsplit(":", 1)[1])
        self.address = f"127.0.0.1:{self.port}"
        self.begin_worker()
        self.wait_for_device("dev-1")

    def begin_coordinator(self, listen):
        if self.coordinator:
            self.coordinator.close()
        self.coordinator = Coordinator(self.path("coordinator"), listen, "--insecure", "--heartbeat-interval", "0.2", "--offline-after", "2s")

    def begin_worker(self):
        self.worker = Worker(self.path("worker"), f"{self.network.HERE}:{self.port}", "dev-1", "", "--insecure", "--reconnect-max", "1s",
                             enter=self.network.enter)  # fmt: skip

    def witness(self):
        witness = SpoolWitness(self.path("witness"), {"dev-1": self.worker.directory})
        self.addCleanup(witness.close)
        return witness

    def begin_job(self, steps, interval=0.05, attempts=1):
        with open(self.path("job.yaml"), "w", encoding="utf-8") as file:
            file.write(JOB.format(steps=steps, interval=interval, attempts=attempts))
        job = self.submit("submit", self.path("job.yaml"))
        self.wait_for_run(job + ".1", "RUNNING")
        return job

    def spool_is_empty(self):
        return not glob.glob(os.path.join(self.worker.directory, "spool", "*"))

    def has_ended_on_the_device(self):
        return any(record.kind == "finished" for record in read_spool(os.path.join(self.worker.directory, "spool"))[0])

    def check(self, witness=None):
        """Everything has ended, and nothing is missing."""
        wait_until(self.spool_is_empty, 30, "an empty spool")
        if witness:
            witness.close()
        check = FleetCheck(self.coordinator.database, [self.worker.directory], self.path("witness"))
        self.assertEqual(check.check(), [])
        print(f"  {check.figures}", file=sys.stderr, flush=True)
        return check.figures

    def run_of(self, job, timeout_s=60):
        run = self.watch(job, timeout_s)["runs"][0]["run"]
        self.assertEqual(run["state"], "ENDED")
        return run

    def device_port(self):
        (port,) = self.network.connections(self.port)
        return port

    def cut_in_mid_run(self, cut, restore, timeout_s):
        """A run that begins before a cut and ends in it."""
        witness = self.witness()
        job = self.begin_job(steps=max(4, int(CUT_S) - 4))
        begun = time.monotonic()
        cut()
        self.wait_for_device("dev-1", ("OFFLINE",))
        self.assertEqual(self.runs_of(job)[0]["state"], "RUNNING", "the run is left to its device")
        wait_until(self.has_ended_on_the_device, CUT_S + 30, "the run to end on the device")
        stored = query(self.coordinator.database, "select count(*) from chunks")[0][0]
        # The cut lasts as long as it lasts, whatever the run does.
        time.sleep(max(0, begun + CUT_S - time.monotonic()))
        self.assertEqual(self.runs_of(job)[0]["state"], "RUNNING")
        restore()
        restored = time.monotonic()
        run = self.run_of(job, timeout_s)
        print(f"  cut for {restored - begun:.1f} s, whole {time.monotonic() - restored:.1f} s after", file=sys.stderr, flush=True)
        self.assertEqual(run["outcome"]["kind"], "COMPLETED")
        self.assertEqual(len(run["attempts"]), 1)
        figures = self.check(witness)
        self.assertGreater(figures.chunks, stored)
        self.assertEqual(figures.lost_samples, 0)

    def test_a_cable_that_is_pulled_in_mid_run(self):
        self.cut_in_mid_run(self.network.pull, self.network.plug, timeout_s=60)

    @unittest.skipUnless(LONG_FAULTS, "takes minutes: BALLAST_LONG_FAULTS=1")
    def test_packets_that_are_lost_without_a_word(self):
        """Neither side hears that there is a cut: TCP sends again, in ever longer pauses, until somebody gives the connection up."""
        self.cut_in_mid_run(self.network.drop, self.network.restore, timeout_s=420)

    def test_a_half_open_session_gives_way_to_the_next(self):
        witness = self.witness()
        job = self.begin_job(steps=4, attempts=2)
        runner = self.worker.runner_pid()
        self.network.drop_connection(self.device_port())
        self.worker.kill()  # nobody tells the coordinator
        wait_until(lambda: not process_exists(runner), 5, "the runner to die with its agent")
        self.begin_worker()
        run = self.run_of(job)
        self.assertEqual([attempt["result"]["outcome"]["kind"] for attempt in run["attempts"]], ["WORKER_CRASHED", "COMPLETED"])
        self.check(witness)

    @unittest.skipUnless(LONG_FAULTS, "takes minutes: BALLAST_LONG_FAULTS=1")
    def test_a_coordinator_that_is_gone_without_a_word(self):
        witness = self.witness()
        job = self.begin_job(steps=4)
        port = self.device_port()
        self.network.drop_connection(port)
        self.coordinator.kill()  # nobody tells the worker
        lost = time.monotonic()
        self.begin_coordinator(f"0.0.0.0:{self.port}")
        run = self.run_of(job, timeout_s=420)
        print(f"  found after {time.monotonic() - lost:.1f} s", file=sys.stderr, flush=True)
        self.assertEqual(run["outcome"]["kind"], "COMPLETED")
        self.assertEqual(len(run["attempts"]), 1)
        self.check(witness)

    def test_a_slow_and_lossy_network(self):
        witness = self.witness()
        self.network.limit("256kbit")
        self.network.drop("--match", "statistic", "--mode", "random", "--probability", "0.05")
        job = self.begin_job(steps=6, interval=0.01)
        run = self.run_of(job, timeout_s=90)
        self.assertEqual(run["outcome"]["kind"], "COMPLETED")
        self.assertEqual(len(run["attempts"]), 1)
        figures = self.check(witness)
        self.assertGreater(figures.samples, 400)

    def extend_log(self, run_id, megabytes):
        """Puts chunks of 256 KiB behind the log of an attempt whose agent is dead, as if it had taken long to come back."""
        schema = proto_schema.compile_schema()
        spool = os.path.join(self.worker.directory, "spool")
        last = max(record.seq for record in read_spool(spool)[0])
        for draft in glob.glob(os.path.join(spool, run_id + "@1", "draft.*")):
            os.unlink(draft)
        body = os.urandom(256 << 10)
        checksum = crc32c(body)
        for index in range(megabytes * 4):
            seq = last + 1 + index
            header = {"start_offset": {"seconds": 100 + index}, "end_offset": {"seconds": 100 + index}, "sample_count": 1, "compression": "NONE",
                      "uncompressed_size_bytes": len(body), "body_crc32c": checksum}  # fmt: skip
            payload = schema.encode("ballast.v1.Record", {"run_id": run_id, "attempt": 1, "seq": seq, "chunk": {"header": header, "body": body}})
            with open(os.path.join(spool, run_id + "@1", f"{seq:020}.seg"), "wb") as segment:
                segment.write(frame(payload))

    def test_a_coordinator_that_does_not_read_costs_the_worker_no_memory(self):
        job = self.begin_job(steps=100)
        self.wait_for_device("dev-1", ("BUSY",))
        self.worker.kill()
        self.extend_log(job + ".1", megabytes=8)
        os.kill(self.coordinator.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, self.coordinator.pid, signal.SIGCONT)
        self.begin_worker()
        # It connects (the kernel accepts), and says who it is to somebody who does not answer.
        wait_until(lambda: self.network.connections(self.port), 20, "a connection")
        os.kill(self.coordinator.pid, signal.SIGCONT)
        wait_until(lambda: query(self.coordinator.database, "select count(*) from chunks")[0][0] >= 4, 30, "the first chunks")
        os.kill(self.coordinator.pid, signal.SIGSTOP)
        at_rest = resident_bytes(self.worker.pid)
        peak, until = at_rest, time.monotonic() + 3
        while time.monotonic() < until:
            peak = max(peak, resident_bytes(self.worker.pid))
            time.sleep(0.05)
        self.network.limit("16mbit")
        os.kill(self.coordinator.pid, signal.SIGCONT)

        def ended():
            nonlocal peak
            peak = max(peak, resident_bytes(self.worker.pid))
            return self.spool_is_empty()

        wait_until(ended, 60, "the spool to be delivered")
        print(f"  worker: {at_rest >> 10} KiB resident at first, {peak >> 10} KiB at most", file=sys.stderr, flush=True)
        self.assertLess(peak - at_rest, 4 << 20, "what the network does not take waits on disk")
        self.assertEqual(self.run_of(job)["outcome"]["kind"], "WORKER_CRASHED")
        self.assertGreaterEqual(self.check().chunks, 32)


if __name__ == "__main__":
    unittest.main()
