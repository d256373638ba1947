#!/usr/bin/env python3
"""Figures of the real programs on loopback, beside their goals. Prints; never fails on a slow machine.

Usage: tests/bench/fleet_bench.py [BIN_DIR]      (default build/release/bin)

  worker_idle       memory and processor time of a worker that is connected and has nothing to do
  submit_to_runner  from the acceptance of a job to the first report of its runner, one job at a time
"""

import datetime
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ["BALLAST_BIN_DIR"] = str(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/release/bin").resolve())
sys.path.insert(0, str(ROOT / "tests/integration"))

from fleet import FleetTest, program  # noqa: E402  (the path must be known first)

JOBS = 50
IDLE_SECONDS = 10


def smaps_kib(pid, key):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as smaps:
        return sum(int(line.split()[1]) for line in smaps if line.startswith(key + ":"))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def linkage(path):
    with open(path, "rb") as binary:
        return "dynamic" if b"ld-linux" in binary.read(4096) else "static"


def unix_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def row(name, value, goal):
    print(f"{name:<34} {value:>16}   {goal}")


class Bench(FleetTest):
    def runTest(self):
        self.start_coordinator()
        worker = self.start_worker("bench")
        path = program("ballast-worker")
        row("worker_link", linkage(path), f"{os.path.getsize(path) / 1e6:.1f} MB on disk")
        before = cpu_seconds(worker.pid)
        time.sleep(IDLE_SECONDS)  # what is measured is the passing of time
        used = cpu_seconds(worker.pid) - before
        row("worker_idle_rss", f"{smaps_kib(worker.pid, 'Rss') / 1024:.2f} MiB", "goal: at most 10 MiB")
        row("worker_idle_private_dirty", f"{smaps_kib(worker.pid, 'Private_Dirty') / 1024:.2f} MiB", "goal: at most 2 MiB")
        row("worker_idle_cpu", f"{100 * used / IDLE_SECONDS:.2f} %", "goal: at most 0.1 % of a core")

        delays_ms = []
        for _ in range(JOBS):
            report = self.watch(self.submit("simple", "--mode", "staircase", "--step-size", "1", "--steps", "1", "--interval",
                                            "0.01", "--baseline", "0", "--recovery", "0"))  # fmt: skip
            run = report["runs"][0]
            attempt = run["run"]["attempts"][0]
            started = unix_time(attempt["start_time"]) + run["events"][0]["offset_seconds"]
            delays_ms.append(1000 * (started - unix_time(report["jobs"][0]["create_time"])))
        delays_ms.sort()
        row("submit_to_runner_p50", f"{statistics.median(delays_ms):.1f} ms", "goal: at most 20 ms")
        row("submit_to_runner_p95", f"{delays_ms[int(0.95 * JOBS)]:.1f} ms", f"n = {JOBS}")


if __name__ == "__main__":
    bench = Bench()
    bench.setUp()
    try:
        bench.runTest()
    finally:
        bench.doCleanups()
