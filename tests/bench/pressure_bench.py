#!/usr/bin/env python3
"""Pressure as the real programs make it, on a 4 GiB device: a worker inside a memory cgroup of that size.

Usage: tests/bench/pressure_bench.py [BIN_DIR]      (default build/bench/bin)

Prints figures beside those of the plain ways and of stress-ng; never fails on a slow machine. Needs the right to make a
memory cgroup, and 6 GiB of free memory.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ["BALLAST_BIN_DIR"] = str(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/bench/bin").resolve())
sys.path.insert(0, str(ROOT / "tests/integration"))

from figure_table import Goal, print_figure, print_header  # noqa: E402  (the path must be known first)
from fleet import MIB, FleetTest, LimitedGroup, children_of, program, resident_bytes  # noqa: E402

DEVICE_BYTES = 4096 * MIB
FILL_BYTES = 2048 * MIB
ROUNDS = 3
HOLD_SECONDS = 20


def available_bytes():
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        return next(int(line.split()[1]) * 1024 for line in meminfo if line.startswith("MemAvailable:"))


def descendants(pid):
    found = []
    for child in children_of(pid):
        found += [child, *descendants(child)]
    return found


def tree_resident_bytes(pid):
    total = 0
    for process in [pid, *descendants(pid)]:
        try:
            total += resident_bytes(process)
        except OSError:  # it ended meanwhile
            pass
    return total


def tree_cpu_seconds(pid):
    total = 0
    for process in [pid, *descendants(pid)]:
        try:
            with open(f"/proc/{process}/stat", encoding="ascii") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def seconds_until_resident(pid, wanted_bytes, begun):
    """Looks as often as it can: a process offers no event for its size."""
    while time.monotonic() - begun < 120:
        if tree_resident_bytes(pid) >= wanted_bytes:
            return time.monotonic() - begun
        time.sleep(0.001)
    raise AssertionError(f"{wanted_bytes} bytes were not resident within 120 s")


def phase(run, kind):
    return next(phase for phase in run["attempts"][-1]["result"]["phases"] if phase["kind"] == kind)


class Bench(FleetTest):
    def runTest(self):
        if available_bytes() < DEVICE_BYTES + 2048 * MIB:
            raise SystemExit("error: 6 GiB of free memory are needed\n  try: end other programs")
        try:
            self.group = LimitedGroup(DEVICE_BYTES)
        except OSError as error:
            raise SystemExit(f"error: cannot make a memory cgroup: {error}\n  try: as root") from error
        self.addCleanup(self.group.remove)
        self.start_coordinator()
        self.worker = self.start_worker("bench", preexec_fn=self.group.join)
        self.against_stress_ng()
        self.reach_target()
        self.hold_with_neighbour()
        self.hold_quietly()

    def run_job(self, *flags):
        report = self.watch(self.submit("simple", *flags), timeout_s=300)
        run = report["runs"][0]["run"]
        if run["outcome"]["kind"] != "COMPLETED":
            raise SystemExit(f"error: the run ended {run['outcome']['kind']}: {run['outcome']['message']}")
        return run, report["runs"][0]

    def start_peer(self, *arguments):
        peer = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                preexec_fn=self.group.join, text=True)  # fmt: skip
        self.addCleanup(self.end_peer, peer)
        return peer

    @staticmethod
    def end_peer(peer):
        if peer.poll() is None:
            peer.terminate()
        peer.communicate(timeout=30)

    def start_stress_ng(self, fill_bytes, *how):
        return self.start_peer("stress-ng", "--vm", "1", *(how or ("--vm-keep",)), "--vm-bytes", str(fill_bytes), "--timeout", "300s")

    def cpu_percent_of_stress_ng(self, *how):
        """Once it holds its memory."""
        peer = self.start_stress_ng(FILL_BYTES, *how)
        seconds_until_resident(peer.pid, int(0.99 * FILL_BYTES), time.monotonic())
        begun, before = time.monotonic(), tree_cpu_seconds(peer.pid)
        time.sleep(3)  # what is measured is the passing of time
        burnt = 100 * (tree_cpu_seconds(peer.pid) - before) / (time.monotonic() - begun)
        self.end_peer(peer)
        return burnt

    def against_stress_ng(self):
        """From the start of the process that takes the memory until all of it is resident."""
        wanted = int(0.99 * FILL_BYTES)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            job = self.submit("simple", "--mode", "staircase", "--step-size", f"{FILL_BYTES // MIB}MiB", "--steps", "1",
                              "--interval", "3", "--baseline", "0", "--recovery", "0")  # fmt: skip
            while not (runner := next((pid for pid in children_of(self.worker.pid) if is_runner(pid)), None)):
                time.sleep(0.0005)
            ours.append(seconds_until_resident(runner, wanted, time.monotonic()))
            self.watch(job)
            begun = time.monotonic()
            peer = self.start_stress_ng(FILL_BYTES)
            theirs.append(seconds_until_resident(peer.pid, wanted, begun))
            self.end_peer(peer)
        ours_s, theirs_s = statistics.median(ours), statistics.median(theirs)
        print_figure("fill 2 GiB, against stress-ng", f"{ours_s:.2f} s", Goal(">=", 1.5), decides=theirs_s / ours_s,
                     peer=f"stress-ng --vm 1 --vm-keep: {theirs_s:.2f} s", ratio=theirs_s / ours_s)  # fmt: skip

    def reach_target(self):
        ours, plain = [], []
        for _ in range(ROUNDS):
            run, _ = self.run_job("--mode", "burst", "--target", "70", "--duration", "0.5", "--baseline", "0.5", "--recovery", "0")
            result = run["attempts"][-1]["result"]
            peer = self.start_peer(program("bench_memory_peer"), "memset", str(result["peak_held_bytes"]))
            plain.append(float(peer.communicate(timeout=120)[0]))
            ours.append(result["time_to_target_seconds"])
        ours_s, plain_s = statistics.median(ours), statistics.median(plain)
        print_figure("reach 70 % of 4 GiB", f"{ours_s:.2f} s", Goal("<=", 1.1), decides=ours_s / plain_s,
                     peer=f"memset loop, the same bytes: {plain_s:.2f} s", ratio=ours_s / plain_s)  # fmt: skip

    def hold_with_neighbour(self):
        neighbour = self.start_peer(program("bench_memory_peer"), "neighbour", str(DEVICE_BYTES // 20), "4")
        run, _ = self.run_job("--mode", "burst", "--target", "60", "--duration", str(HOLD_SECONDS))
        self.end_peer(neighbour)
        quality = phase(run, "HOLD")["hold_quality"]
        share = 100 * quality["within_half_point_count"] / quality["sample_count"]
        print_figure("hold 60 %, within 0.5 points", f"{share:.1f} %", Goal(">=", 95, " %"), decides=share,
                     peer="neighbour moving by 5 % in 2 s")  # fmt: skip

    def hold_quietly(self):
        run, report = self.run_job("--mode", "burst", "--target", "70", "--duration", str(HOLD_SECONDS))
        hold = phase(run, "HOLD")
        share = 100 * hold["hold_quality"]["within_half_point_count"] / hold["hold_quality"]["sample_count"]
        print_figure("hold 70 %, no neighbour", f"{share:.1f} %", Goal(">=", 95, " %"), decides=share)
        samples = report["samples"]
        cpu_ms = next(column["values"] for column in samples["columns"] if column["metric"] == "runner_cpu_ms_total")
        inside = [
            (offset, value)
            for offset, value in zip(samples["offset_ms"], cpu_ms)
            if value is not None and hold["start_offset_seconds"] * 1000 <= offset <= hold["end_offset_seconds"] * 1000
        ]
        used = 100 * (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])
        kept, hung = self.cpu_percent_of_stress_ng("--vm-keep"), self.cpu_percent_of_stress_ng("--vm-hang", "0")
        print_figure("processor while holding", f"{used:.2f} % of a core", Goal("<=", 1, " %"), decides=used,
                     peer=f"stress-ng --vm-keep: {kept:.0f} %, --vm-hang: {hung:.0f} %")  # fmt: skip
        result = run["attempts"][-1]["result"]
        elapsed = samples["offset_ms"][-1] / 1000
        observed = 100 * result["observer_cost"]["cpu_time_seconds"] / elapsed
        # Sampling, guarding, recording on the disk and sending, all of the agent.
        print_figure("observing a run", f"{observed:.2f} % of a core", decides=observed,
                     peer=f"{len(samples['columns'])} metrics, {result['sample_count']} samples")  # fmt: skip


def is_runner(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            return b"--runner" in cmdline.read().split(b"\0")
    except OSError:
        return False


if __name__ == "__main__":
    print_header()
    bench = Bench()
    bench.setUp()
    try:
        bench.runTest()
    finally:
        bench.doCleanups()
