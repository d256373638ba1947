"""A fleet of four workers under SIGKILL and SIGSTOP at random instants: nothing that was durable is lost or doubled, and each run has one outcome.

BALLAST_FAULT_ROUNDS says how many rounds (12), BALLAST_FAULT_SEED which ones; the seed is printed.
"""

import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import unittest

from fleet import Coordinator, FleetTest, Program, Worker, process_exists, program, query, runners_of, wait_until
from fleet_check import FleetCheck, SpoolWitness

ROUNDS = int(os.environ.get("BALLAST_FAULT_ROUNDS", "12"))
SEED = int(os.environ.get("BALLAST_FAULT_SEED", str(random.SystemRandom().randrange(1 << 31))))

DEVICES = ("dev-1", "dev-2", "dev-3", "dev-4")
FAULTS = ("kill coordinator", "kill worker", "kill runner", "stop coordinator", "stop worker", "stop runner")
POLICY = "devices: {all: true}\nguard: {mode: OFF}\ntelemetry: {sample_interval: 0.05}\npolicy: {max_attempts: 3"
SHORT = "workload: {pressure: {staircase: {step_size_bytes: 2MiB, interval: 0.2, steps: 3}, baseline: 0.1, recovery: 0.1}}\n" + POLICY
LONG = "workload: {pressure: {staircase: {step_size_bytes: 1MiB, interval: 1, steps: 7}, baseline: 0, recovery: 0}}\n" + POLICY
# Runs of one chunk, which end while faults come, runs of several, and runs that are given up soon, so that their evidence is late.
JOBS = {"short": SHORT + "}\n", "long": LONG + "}\n", "impatient": LONG + ", lost_after: 1}\n"}
EXPECTED = {"COMPLETED", "WORKER_CRASHED"}


class RoundsTest(FleetTest):
    def setUp(self):
        super().setUp()
        print(f"seed {SEED}, {ROUNDS} rounds", file=sys.stderr, flush=True)
        self.random = random.Random(SEED)
        self.stopped = []
        self.done = collections.Counter()
        self.impatient = set()
        self.addCleanup(self.resume)
        self.coordinator = None
        self.workers = {}
        self.addCleanup(lambda: [one.close() for one in [self.coordinator, *self.workers.values()] if one])
        self.begin_coordinator()
        for device in DEVICES:
            self.begin_worker(device)
        for device in DEVICES:
            self.wait_for_device(device)
        self.witness = SpoolWitness(self.path("witness"), {device: self.workers[device].directory for device in DEVICES})
        self.addCleanup(self.witness.close)
        for name, text in JOBS.items():
            with open(self.path(name + ".yaml"), "w", encoding="utf-8") as file:
                file.write(text)

    def begin_and_kill(self, arguments):
        """A program that dies at some instant of its start."""
        starting = Program(arguments, self.path("starting.log"), stdout=subprocess.DEVNULL)
        self.addCleanup(starting.close)
        time.sleep(self.random.uniform(0, 0.15))
        starting.kill()
        self.done["kill while it starts: " + os.path.basename(arguments[0])] += 1

    def begin_coordinator(self):
        if self.coordinator:
            self.coordinator.close()
        listen = self.address or "127.0.0.1:0"
        self.coordinator = Coordinator(self.path("coordinator"), listen, "--heartbeat-interval", "0.2", "--offline-after", "2s",
                                       "--quarantine-after", "0")  # what is killed on purpose is not ill
        self.address = self.coordinator.address

    def begin_worker(self, device):
        self.workers[device] = Worker(self.path("worker-" + device), self.address, device, "", "--reconnect-max", "1s")

    def open_runs(self):
        return query(self.coordinator.database, "select count(*) from runs where state <> 4")[0][0]

    def feed(self):
        """Keeps two runs a device waiting or going on."""
        if self.open_runs() < 2 * len(DEVICES):
            name = self.random.choice(sorted(JOBS))
            job = self.submit("submit", self.path(name + ".yaml"))
            if name == "impatient":
                self.impatient.add(job)

    def resume(self):
        for pid in self.stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.stopped.clear()

    def pid_of(self, what, device):
        if what == "coordinator":
            return self.coordinator.pid
        if what == "worker":
            return self.workers[device].pid
        return next(iter(runners_of(self.workers[device].pid)), None)

    def fault(self, fault, device):
        """Whether there was somebody to do it to."""
        what, whom = fault.split()
        pid = self.pid_of(whom, device)
        if pid is None or not process_exists(pid):
            return False
        if what == "stop":
            os.kill(pid, signal.SIGSTOP)
            self.stopped.append(pid)
        elif whom == "coordinator":
            self.coordinator.kill()
        elif whom == "worker":
            self.workers[device].kill()
        else:
            os.kill(pid, signal.SIGKILL)
        return True

    def repair(self):
        self.resume()
        if self.coordinator.process.poll() is not None:
            if self.random.random() < 0.3:
                self.begin_and_kill([program("ballast-coordinator"), "--listen", self.address, "--data-dir", self.coordinator.directory])
            self.begin_coordinator()
        for device, worker in self.workers.items():
            if worker.process.poll() is not None:
                if self.random.random() < 0.3:
                    flags = ["--coordinator", self.address, "--device-id", device, "--data-dir", worker.directory]
                    self.begin_and_kill([program("ballast-worker"), *flags])
                self.begin_worker(device)

    def test_kills_and_stops_at_random_instants(self):
        acknowledged = set()
        for number in range(ROUNDS):
            self.feed()
            # The instant is what is random here: nothing is waited for.
            time.sleep(self.random.uniform(0, 1.5))
            faults = self.random.sample(FAULTS, self.random.choice((1, 1, 2)))
            for fault in faults:
                device = self.random.choice(DEVICES)
                self.done[fault if self.fault(fault, device) else "nobody to " + fault] += 1
            acknowledged |= set(query(self.coordinator.database, "select run_id, attempt, seq from chunks"))
            time.sleep(self.random.uniform(0, 1.5))
            self.repair()
            if (number + 1) % 20 == 0:
                print(f"round {number + 1}: {self.open_runs()} runs open", file=sys.stderr, flush=True)
        wait_until(lambda: self.open_runs() == 0, 120, "every run to end")
        spools = [os.path.join(worker.directory, "spool") for worker in self.workers.values()]
        wait_until(lambda: not any(os.listdir(spool) for spool in spools), 60, "empty spools")
        self.witness.close()
        for worker in self.workers.values():
            self.assertEqual(worker.terminate(), 0)
        self.assertEqual(self.coordinator.terminate(), 0)

        check = FleetCheck(self.coordinator.database, [worker.directory for worker in self.workers.values()], self.path("witness"))
        faults = check.check()
        print(f"faults injected: {dict(sorted(self.done.items()))}\n{check.figures}", file=sys.stderr, flush=True)
        self.assertEqual(faults, [], f"seed {SEED}")
        self.assertLessEqual(set(check.figures.outcomes), EXPECTED | {"DEVICE_LOST"})
        lost = query(self.coordinator.database, "select distinct job_id from runs where outcome = 9")
        self.assertLessEqual({job for (job,) in lost}, self.impatient, "only what has a short lease may be lost")
        stored = set(query(self.coordinator.database, "select run_id, attempt, seq from chunks"))
        self.assertLessEqual(acknowledged, stored, "what was committed once stays")
        # It was tried on something.
        self.assertGreater(check.figures.outcomes["COMPLETED"], 0)
        self.assertGreaterEqual(check.figures.witnessed, check.figures.chunks)


if __name__ == "__main__":
    unittest.main()
