#!/usr/bin/env python3
"""Figures of the real programs on loopback, beside their goals. Prints; never fails on a slow machine.

Usage: tests/bench/fleet_bench.py [BIN_DIR]      (default build/bench/bin)

  idle worker         memory and processor time of a worker that is connected and has nothing to do
  submit to runner    from the acceptance of a job to the first report of its runner, one job at a time
"""

import datetime
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ["BALLAST_BIN_DIR"] = str(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/bench/bin").resolve())
sys.path.insert(0, str(ROOT / "tests/integration"))

from figure_table import Goal, print_figure, print_header  # noqa: E402  (the path must be known first)
from fleet import FleetTest, program  # noqa: E402

JOBS = 50
SETTLE_SECONDS = 2
IDLE_SECONDS = 10


def smaps_kib(pid, key):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as smaps:
        return sum(int(line.split()[1]) for line in smaps if line.startswith(key + ":"))


def cpu_seconds(pid):
    """Of all threads, in nanoseconds: the ticks of /proc/PID/stat are a hundredth of a second."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as schedstat:
            total += int(schedstat.read().split()[0])
    return total / 1e9


def linkage(path):
    with open(path, "rb") as binary:
        return "dynamic" if b"ld-linux" in binary.read(4096) else "static"


def unix_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Bench(FleetTest):
    def runTest(self):
        self.start_coordinator()
        worker = self.start_worker("bench")
        path = program("ballast-worker")
        time.sleep(SETTLE_SECONDS)  # its start is not what it does when idle
        before = cpu_seconds(worker.pid)
        time.sleep(IDLE_SECONDS)  # what is measured is the passing of time
        used = 100 * (cpu_seconds(worker.pid) - before) / IDLE_SECONDS
        resident, dirty = (smaps_kib(worker.pid, key) / 1024 for key in ("Rss", "Private_Dirty"))
        print_figure("idle worker, resident", f"{resident:.2f} MiB", Goal("<=", 10, " MiB"), decides=resident,
                     peer=f"{linkage(path)}, {os.path.getsize(path) / 1e6:.1f} MB on disk")  # fmt: skip
        print_figure("idle worker, private dirty", f"{dirty:.2f} MiB", Goal("<=", 2, " MiB"), decides=dirty)
        print_figure("idle worker, processor", f"{used:.2f} % of a core", Goal("<=", 0.1, " %"), decides=used)

        delays_ms = []
        for _ in range(JOBS):
            report = self.watch(self.submit("simple", "--mode", "staircase", "--step-size", "1", "--steps", "1", "--interval",
                                            "0.01", "--baseline", "0", "--recovery", "0"))  # fmt: skip
            run = report["runs"][0]
            attempt = run["run"]["attempts"][0]
            started = unix_time(attempt["start_time"]) + run["events"][0]["offset_seconds"]
            delays_ms.append(1000 * (started - unix_time(report["jobs"][0]["create_time"])))
        delays_ms.sort()
        median = statistics.median(delays_ms)
        print_figure("submit to runner, p50", f"{median:.1f} ms", Goal("<=", 20, " ms"), decides=median,
                     peer=f"p95 {delays_ms[int(0.95 * JOBS)]:.1f} ms, n = {JOBS}")  # fmt: skip


if __name__ == "__main__":
    print_header()
    bench = Bench()
    bench.setUp()
    try:
        bench.runTest()
    finally:
        bench.doCleanups()
