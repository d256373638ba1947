#!/usr/bin/env python3
"""Tries things on a virtual machine as a device: boots it, carries out what the command line says in its order, and ends it.

  tests/device/vm.py --memory 2048 --run 'free; cat /proc/pressure/memory'
  tests/device/vm.py --memory 4096 --swap 1024 --worker --ballast 'simple --mode burst --target 80' --run 'dmesg | tail'
  tests/device/vm.py --memory 2048 --zram 1024 --file build/dev/bin/my-probe --run my-probe
  tests/device/vm.py --memory 4096 --worker --shell
"""

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time

from device import Device
from fleet import Coordinator, program, wait_until
from machine import VirtualMachine


class Step(argparse.Action):
    """Keeps what is to be done in the order of the command line."""

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.steps = [*namespace.steps, (self.dest, values)]


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB", help="memory (default %(default)s)")
    parser.add_argument("--swap", type=int, default=0, metavar="MIB", help="swap on a disk")
    parser.add_argument("--zram", type=int, default=0, metavar="MIB", help="swap in compressed memory")
    parser.add_argument("--disk", type=int, default=2048, metavar="MIB", help="size of the disk (default %(default)s)")
    parser.add_argument("--program", action="append", default=[], metavar="PATH", help="a static program for its /bin; may be repeated")
    parser.add_argument("--worker", action="store_true", help="start a coordinator here and a worker in the machine")
    parser.add_argument("--limit", type=int, default=0, metavar="MIB", help="limit of the worker's cgroup, without swap")
    parser.add_argument("--timeout", type=float, default=600, metavar="S", help="for each step (default %(default)s)")
    parser.add_argument("--run", action=Step, metavar="TEXT", help="shell text, run in the machine; may be repeated")
    parser.add_argument("--ballast", action=Step, metavar="ARGUMENTS", help="a command line of ballast, run here; may be repeated")
    parser.add_argument("--shell", action=Step, nargs=0, help="steps from standard input: shell text, or 'ballast ARGUMENTS'")
    parser.set_defaults(steps=[])
    options = parser.parse_args(arguments)
    if not options.worker and (options.limit or any(kind == "ballast" for kind, _ in options.steps)):
        parser.error("--limit and --ballast need --worker")
    return options


def told(text):
    print(text, file=sys.stderr, flush=True)


class Session:
    """A machine, and what carries out steps on it."""

    def __init__(self, options, stack):
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ballast-vm-"))
        machine = {
            "memory_mib": options.memory,
            "swap_mib": options.swap,
            "zram_mib": options.zram,
            "disk_mib": options.disk,
            "programs": {os.path.basename(path): path for path in options.program},
        }
        self._timeout_s = options.timeout
        self._environment = dict(os.environ)
        path = os.path.join(directory, "machine")
        begin = time.monotonic()
        if options.worker:
            coordinator = stack.enter_context(contextlib.closing(Coordinator(os.path.join(directory, "coordinator"))))
            self._environment["BALLAST_COORDINATOR"] = coordinator.address
            device = Device(path, coordinator.address, limit_mib=options.limit, **machine)
            self.machine = device.machine
        else:
            self.machine = VirtualMachine(path, **machine)
        stack.enter_context(contextlib.closing(self.machine))
        self.machine.boot()
        told(f"the machine is up after {time.monotonic() - begin:.1f} s")
        if options.worker:
            pid = device.start_worker()
            wait_until(lambda: self._knows(device.device_id), 60, "the worker to connect")
            told(f"the worker has pid {pid}; BALLAST_COORDINATOR={coordinator.address}")

    def _knows(self, device_id):
        show = [program("ballast"), "devices", "show", device_id]
        return subprocess.run(show, env=self._environment, capture_output=True, check=False).returncode == 0

    def carry_out(self, kind, values):
        if kind == "shell":
            for line in sys.stdin:
                name, _, rest = line.strip().partition(" ")
                if name == "ballast":
                    self.carry_out("ballast", rest)
                elif name:
                    self.carry_out("run", line)
            return
        begin = time.monotonic()
        if kind == "run":
            result = self.machine.try_run(values, self._timeout_s)
            print(result.out, flush=True)
            code = result.code
        else:
            command = [program("ballast"), *shlex.split(values)]
            code = subprocess.run(command, env=self._environment, timeout=self._timeout_s, check=False).returncode
        told(f"-- exit code {code} after {time.monotonic() - begin:.1f} s")


def main():
    options = parse(sys.argv[1:])
    with contextlib.ExitStack() as stack:
        session = Session(options, stack)
        try:
            for kind, values in options.steps:
                session.carry_out(kind, values)
        except AssertionError as error:
            told(f"error: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
