#!/usr/bin/env python3
"""How far an environment profile is like a machine of its size: the same jobs in the profile's cgroup on a larger virtual machine, and on a
virtual machine that has no more memory than that. Both are emulated alike, so what differs is the cgroup.

  tests/device/fidelity.py                                   # 2gb-noswap; a table of Markdown on standard output
  tests/device/fidelity.py --profile 4gb-swap --repeat 3
  tests/device/fidelity.py --output json >fidelity.json

Takes some ten minutes, 10 GB of free memory and disk, and what deploy/install-dependencies.sh --device installs. docs/fidelity.md has what it
found, and what that means.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile

from device import Device
from fleet import Coordinator, program, wait_until
from machine import MIB

# The larger machine has this much more memory than the profile: what its kernel and its agent need, and room for both to be at ease.
ROOM_MIB = 2048
DISK_MIB = 6144
# Of fewer there is no mean that says anything.
FEWEST_FAULTS = 100


def told(text):
    print(text, file=sys.stderr, flush=True)


def column(run, metric):
    """The values of a metric over a run, without those that are missing."""
    for entry in run["samples"]["columns"]:
        if entry["metric"] == metric:
            return [value for value in entry["values"] if value is not None]
    return []


class Side:
    """One of the two machines, with a worker, and jobs that are carried out on it."""

    def __init__(self, name, directory, environment, **machine):
        self.name = name
        self._environment = environment
        self._stack = contextlib.ExitStack()
        os.makedirs(directory)
        coordinator = self._stack.enter_context(contextlib.closing(Coordinator(os.path.join(directory, "coordinator"))))
        self._variables = dict(
            os.environ, BALLAST_COORDINATOR=coordinator.address, XDG_CONFIG_HOME=directory, XDG_DATA_HOME=directory
        )
        self.device = Device(os.path.join(directory, "machine"), coordinator.address, disk_mib=DISK_MIB, **machine)
        self._stack.enter_context(contextlib.closing(self.device.machine))

    def __enter__(self):
        try:
            self.device.machine.boot()
            self.device.start_worker()
            show = [program("ballast"), "devices", "show", self.device.device_id]
            wait_until(lambda: subprocess.run(show, env=self._variables, capture_output=True, check=False).returncode == 0, 180, self.name)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_):
        self._stack.close()

    def run(self, *arguments):
        """Carries a job out and returns its one run as the report has it."""
        command = [program("ballast"), *arguments, *self._environment, "--output", "json"]
        told(f"{self.name}: {' '.join(command[1:])}")
        done = subprocess.run(command, env=self._variables, stdout=subprocess.PIPE, timeout=1800, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{self.name}: exit code {done.returncode} from: {' '.join(command)}")
        (run,) = json.loads(done.stdout)["runs"]
        return run


def result_of(run):
    return run["run"]["attempts"][-1]["result"]


def measure_fill(side):
    """Filling half of the memory with a step at a time: what a page costs while there is enough of them."""
    run = side.run("simple", "--mode", "burst", "--target", "60", "--duration", "5", "--baseline", "2")
    result = result_of(run)
    return {
        "limit_mib": result["limit_bytes"] / MIB,
        "available_at_start_mib": column(run, "mem_limit_available_bytes")[0] / MIB,
        "fill_mib_per_s": result["fill_bytes_per_second"] / MIB,
    }


def measure_end(side):
    """All the way to the OOM kill: how much can be held, and how long that takes."""
    run = side.run("simple", "--mode", "allocate_full", "--until", "oom", "--expect", "OOM_KILLED", "--baseline", "1", "--recovery", "0")
    result = result_of(run)
    ramp = next(phase for phase in result["phases"] if phase["kind"] == "RAMP")
    series = result["outcome"]["evidence"]["last_samples"]
    return {
        "outcome": result["outcome"]["kind"],
        "killer": result["outcome"]["evidence"]["killer"],
        "held_at_the_end_mib": result["outcome"]["evidence"]["held_bytes"] / MIB,
        "time_to_oom_s": series["offset_ms"][-1] / 1000 - ramp["start_offset_seconds"],
    }


def measure_model(side, model_id, quant):
    """A model whose file is nearly as large as the memory, mapped and used three times: how much of it stays in the page cache."""
    run = side.run("model", "--model-id", model_id, "--quant", quant, "--passes", "2", "--force", "--until", "oom", "--timeout", "20m")
    (load,) = result_of(run)["loads"]
    figures = {"model_outcome": load["outcome"]["kind"], "model_peak_file_mib": load["peak_file_bytes"] / MIB}
    if load["stages"]:
        passes = [stage for stage in load["stages"] if stage["kind"] in ("FIRST_PASS", "PASSES")]
        reads = sum(stage["disk_read_bytes"] for stage in load["stages"])
        figures["model_read_of_file"] = reads / load["file_bytes"]
        figures["model_passes_s"] = sum(stage["duration_seconds"] for stage in passes)
        faults = sum(stage["major_faults"] for stage in passes)
        if faults >= FEWEST_FAULTS:
            figures["model_ms_per_major_fault"] = 1000 * figures["model_passes_s"] / faults
    return figures


FIGURES = {
    "limit_mib": "memory that percentages refer to, MiB",
    "available_at_start_mib": "of that, available before the load, MiB",
    "fill_mib_per_s": "filling to 60 %, MiB/s",
    "outcome": "outcome of allocating to the end",
    "killer": "killer",
    "held_at_the_end_mib": "held when it was killed, MiB",
    "time_to_oom_s": "from the first allocation to the kill, s",
    "model_outcome": "outcome of the model's load",
    "model_peak_file_mib": "page cache that the model had at most, MiB",
    "model_read_of_file": "read from the disk in three passes, times the file",
    "model_passes_s": "three passes, s",
    "model_ms_per_major_fault": "a major fault in them, ms",
}


def combine(rounds):
    """The median of figures, every value of words."""
    combined = {}
    for key in FIGURES:
        values = [figures[key] for figures in rounds if key in figures]
        if values and isinstance(values[0], str):
            combined[key] = ", ".join(sorted(set(values)))
        elif values:
            combined[key] = statistics.median(values)
    return combined


def as_text(value):
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:,.2f}" if value < 10 else f"{value:,.0f}"


def print_markdown(profile, sides):
    names = list(sides)
    print(f"| `{profile}` | {names[0]} | {names[1]} | ratio |\n|---|---|---|---|")
    for key, label in FIGURES.items():
        left, right = (sides[name].get(key) for name in names)
        numbers = isinstance(left, float | int) and isinstance(right, float | int) and right
        print(f"| {label} | {as_text(left)} | {as_text(right)} | {as_text(left / right) if numbers else ''} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="2gb-noswap", help="profile that is compared (default %(default)s)")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="rounds; figures are medians (default %(default)s)")
    parser.add_argument("--model-id", default="qwen2.5-1.5b", help="model of the page cache's part (default %(default)s)")
    parser.add_argument("--quant", default="Q8_0", help="its level (default %(default)s)")
    parser.add_argument("--output", choices=("markdown", "json"), default="markdown")
    options = parser.parse_args()

    shown = subprocess.run(
        [program("ballast"), "env", "show", options.profile, "--output", "json"], stdout=subprocess.PIPE, check=False
    )
    if shown.returncode != 0:
        return shown.returncode
    profile = json.loads(shown.stdout)
    memory_mib = profile["memory_bytes"] // MIB
    swap_mib = profile["swap"].get("size_bytes", 0) // MIB
    machines = {
        f"cgroup of {memory_mib} MiB": (("--env", options.profile), memory_mib + ROOM_MIB),
        f"machine of {memory_mib} MiB": ((), memory_mib),
    }
    sides = {}
    with tempfile.TemporaryDirectory(prefix="ballast-fidelity-") as directory:
        for number, (name, (environment, machine_mib)) in enumerate(machines.items()):
            machine = {"memory_mib": machine_mib, "swap_mib": swap_mib}
            with Side(name, os.path.join(directory, str(number)), environment, **machine) as side:
                rounds = [
                    {**measure_fill(side), **measure_end(side), **measure_model(side, options.model_id, options.quant)}
                    for _ in range(options.repeat)
                ]
            sides[name] = combine(rounds)
    if options.output == "json":
        json.dump({"profile": profile, "sides": sides}, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        print_markdown(options.profile, sides)
    return 0


if __name__ == "__main__":
    sys.exit(main())
