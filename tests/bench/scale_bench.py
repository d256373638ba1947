#!/usr/bin/env python3
"""How the coordinator carries fleets of 10 to 10,000 workers: real programs and real gRPC sessions on loopback, beside the goals.

Prints; never fails on a slow machine. The load generator runs on the same processors, so its share is printed, too.

Usage: tests/bench/scale_bench.py [BIN_DIR] [--workers 10,100,1000,10000] [--seconds 10] [--processes 1] [--tls] [--json FILE]
"""

import argparse
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

from fleet_generator import Generator, raise_file_limit

ROOT = pathlib.Path(__file__).resolve().parents[2]
MIB = 1 << 20
PENDING_CONNECTIONS = 200  # at once; a listening socket has a backlog


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin_dir", nargs="?", default=str(ROOT / "build/bench/bin"))
    parser.add_argument("--workers", default="10,100,1000,10000", help="sizes of the fleet")
    parser.add_argument("--seconds", type=float, default=10, help="length of each measurement")
    parser.add_argument("--processes", type=int, default=1, help="generators that share the fleet")
    parser.add_argument("--jobs", type=int, default=200, help="jobs that are submitted one after the other")
    parser.add_argument("--window", type=int, default=4, help="chunks of one run that may wait for their acknowledgement")
    parser.add_argument("--tls", action="store_true", help="everybody has a certificate; otherwise plain text")
    parser.add_argument("--directory", default=None, help="where the database is made (default: a temporary directory)")
    parser.add_argument("--json", default=None, help="also writes the figures to this file")
    return parser.parse_args()


def cpu_seconds(pid):
    """Of all threads that ever were, user and system."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status_mib(pid, key):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(key + ":"))


class Measurement:
    """One size of the fleet against a coordinator of its own, in a directory of its own."""

    def __init__(self, options, workers):
        self.options = options
        self.workers = workers
        self.figures = {"workers": workers}
        self.generators = []
        self.directory = tempfile.mkdtemp(prefix="ballast-scale-", dir=options.directory)
        self.log = open(os.path.join(self.directory, "log"), "wb")
        program, data = os.path.join(options.bin_dir, "ballast-coordinator"), os.path.join(self.directory, "data")
        self.pki = os.path.join(data, "pki") if options.tls else None
        if options.tls:
            subprocess.run([program, "init", "--data-dir", data], check=True, stdout=subprocess.DEVNULL, timeout=20)
        self.coordinator = subprocess.Popen(
            [program, "--listen", "127.0.0.1:0", "--data-dir", data, "--log-level", "warn"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, preexec_fn=raise_file_limit,
        )  # fmt: skip
        ready, _, _ = select.select([self.coordinator.stdout], [], [], 20)
        line = self.coordinator.stdout.readline().decode() if ready else ""
        if not line.startswith("listening on "):
            raise RuntimeError(f"the coordinator did not start: {line!r}")
        self.address = line.split()[-1]
        self.database = os.path.join(data, "ballast.db")

    def close(self):
        for generator in self.generators:
            generator.close()
        if self.coordinator.poll() is None:
            self.coordinator.terminate()
            try:
                self.coordinator.wait(60)
            except subprocess.TimeoutExpired:
                self.coordinator.kill()
                self.coordinator.wait(10)
        self.coordinator.stdout.close()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def all(self, command):
        for generator in self.generators:
            generator.ask(command)
        return [generator.answer() for generator in self.generators]

    def first(self, command):
        self.generators[0].ask(command)
        return self.generators[0].answer()

    def timed(self, ask):
        """What it answers, and the shares of a core that the coordinator and the generators had meanwhile."""
        pids = [self.coordinator.pid, *(generator.process.pid for generator in self.generators)]
        begin = time.monotonic()
        before = [cpu_seconds(pid) for pid in pids]
        answer = ask()
        elapsed = time.monotonic() - begin
        used = [(cpu_seconds(pid) - was) / elapsed for pid, was in zip(pids, before)]
        return answer, used[0], sum(used[1:])

    def run(self):
        seconds, figures = self.options.seconds, self.figures
        share = -(-self.workers // self.options.processes)
        for first in range(0, self.workers, share):
            size = min(share, self.workers - first)
            program = os.path.join(self.options.bin_dir, "bench_fleet_load")
            self.generators.append(Generator(program, self.address, size, first, self.pki))
        resident_before = status_mib(self.coordinator.pid, "VmRSS")
        answers, cores, _ = self.timed(lambda: self.all(f"connect {PENDING_CONNECTIONS}"))
        figures["connect_s"] = max(answer["seconds"] for answer in answers)
        figures["connect_cores"] = cores

        answers, cores, generator_cores = self.timed(lambda: self.all(f"heartbeats {seconds}"))
        figures["idle_cores"] = cores
        figures["idle_generator_cores"] = generator_cores
        figures["heartbeat_late_p50_ms"] = max(answer["lateness_ms"]["p50"] for answer in answers)
        figures["heartbeat_late_p99_ms"] = max(answer["lateness_ms"]["p99"] for answer in answers)
        figures["heartbeat_round_trip_p99_ms"] = max(answer["round_trip_ms"]["p99"] for answer in answers)
        figures["idle_rss_mib"] = status_mib(self.coordinator.pid, "VmRSS")
        figures["rss_per_worker_kib"] = 1024 * (figures["idle_rss_mib"] - resident_before) / self.workers

        answer = self.first(f"submit {self.options.jobs}")
        for name in ("assignment", "started"):
            figures[f"submit_to_{name}_p50_ms"] = answer[f"submit_to_{name}_ms"]["p50"]
            figures[f"submit_to_{name}_p99_ms"] = answer[f"submit_to_{name}_ms"]["p99"]

        devices = min(100, share)
        answer = self.first(f"turns {devices} {max(2, int(seconds))} 1000")
        figures["dispatch_p50_ms"] = answer["turnaround_ms"]["p50"]
        figures["dispatch_p99_ms"] = answer["turnaround_ms"]["p99"]
        figures["dispatch_runs_per_s"] = answer["runs_per_second"]

        # One job for each generator: each knows of its own runs only.
        answers = self.all(f"turns {share} 1 0")
        figures["wave_all_started_s"] = max(answer["all_started_seconds"] for answer in answers)
        figures["wave_late_p99_ms"] = max(answer["lateness_ms"]["p99"] for answer in answers)

        # How the database grows is seen when the coordinator has ended: only then is the log of writes in it.
        self.all(f"chunks {share} {self.options.window} 0")
        answers, cores, generator_cores = self.timed(lambda: self.all(f"measure {seconds}"))
        figures["ingest_values_per_s"] = sum(answer["values_per_second"] for answer in answers)
        figures["ingest_cores"] = cores
        figures["ingest_generator_cores"] = generator_cores
        figures["ingest_values_per_core_s"] = figures["ingest_values_per_s"] / max(cores, 0.01)
        figures["ack_p50_ms"] = max(answer["ack_ms"]["p50"] for answer in answers)
        figures["ack_p99_ms"] = max(answer["ack_ms"]["p99"] for answer in answers)
        figures["ingest_late_p99_ms"] = max(answer["lateness_ms"]["p99"] for answer in answers)
        figures["ingest_rss_mib"] = status_mib(self.coordinator.pid, "VmRSS")
        values_per_chunk = answers[0]["values_per_chunk"]
        answers = self.all("end")
        values = values_per_chunk * sum(answer["acked_chunks"] for answer in answers)

        states = self.first("states")
        figures["list_devices_ms"] = states["list_ms"]
        figures["offline"] = states.get("OFFLINE", 0)
        figures["peak_rss_mib"] = status_mib(self.coordinator.pid, "VmHWM")
        for generator in self.generators:
            generator.close()
        self.generators = []
        self.coordinator.terminate()
        self.coordinator.wait(120)
        figures["bytes_per_value"] = os.path.getsize(self.database) / values
        return figures


ROWS = (
    ("connect the whole fleet", "connect_s", "s", ""),
    ("heartbeat late, p50", "heartbeat_late_p50_ms", "ms", ""),
    ("heartbeat late, p99", "heartbeat_late_p99_ms", "ms", "on time"),
    ("heartbeat round trip, p99", "heartbeat_round_trip_p99_ms", "ms", ""),
    ("coordinator, idle fleet", "idle_cores", "cores", ""),
    ("generator, idle fleet", "idle_generator_cores", "cores", ""),
    ("resident, idle fleet", "idle_rss_mib", "MiB", "< 600"),
    ("resident a worker", "rss_per_worker_kib", "KiB", ""),
    ("submit to assignment, p50", "submit_to_assignment_p50_ms", "ms", ""),
    ("submit to assignment, p99", "submit_to_assignment_p99_ms", "ms", "< 100"),
    ("submit to started, p50", "submit_to_started_p50_ms", "ms", "<= 20"),
    ("submit to started, p99", "submit_to_started_p99_ms", "ms", ""),
    ("free to next assignment, p50", "dispatch_p50_ms", "ms", ""),
    ("free to next assignment, p99", "dispatch_p99_ms", "ms", "< 100"),
    ("a job on all devices: all started", "wave_all_started_s", "s", ""),
    ("heartbeat late meanwhile, p99", "wave_late_p99_ms", "ms", ""),
    ("durable ingest", "ingest_values_per_s", "values/s", ">= 2 M"),
    ("coordinator meanwhile", "ingest_cores", "cores", ""),
    ("generator meanwhile", "ingest_generator_cores", "cores", ""),
    ("ingest a core of the coordinator", "ingest_values_per_core_s", "values/s", ""),
    ("chunk to acknowledgement, p50", "ack_p50_ms", "ms", ""),
    ("chunk to acknowledgement, p99", "ack_p99_ms", "ms", ""),
    ("heartbeat late meanwhile, p99", "ingest_late_p99_ms", "ms", ""),
    ("bytes a value in the database", "bytes_per_value", "B", "<= 2"),
    ("list of all devices", "list_devices_ms", "ms", ""),
    ("devices taken for offline", "offline", "", "0"),
    ("resident, highest", "peak_rss_mib", "MiB", "< 600"),
)


def text(value):
    if value is None:
        return "-"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.2f} M"
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"


def print_table(results):
    print(f"{'figure':<36}{'unit':<10}{'goal':<10}" + "".join(f"{result['workers']:>12,}" for result in results))
    print("-" * (56 + 12 * len(results)))
    for name, key, unit, goal in ROWS:
        print(f"{name:<36}{unit:<10}{goal:<10}" + "".join(f"{text(result.get(key)):>12}" for result in results))


def main():
    options = arguments()
    raise_file_limit()
    results = []
    for size in options.workers.split(","):
        measurement = Measurement(options, int(size))
        begin = time.monotonic()
        try:
            results.append(measurement.run())
        except (RuntimeError, KeyboardInterrupt) as error:  # what was measured until then is worth printing
            print(f"{size} workers: {error or 'interrupted'}", file=sys.stderr)
            results.append(measurement.figures)
        finally:
            measurement.close()
        results[-1]["load_average"] = os.getloadavg()[0]
        print(f"{size} workers: measured in {time.monotonic() - begin:.0f} s; load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
    print_table(results)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
