"""A worker on a virtual machine as the device of a real coordinator, for tests."""

import datetime
import os
import shlex
import sys

from machine import MIB, ROOT, VirtualMachine

sys.path.append(os.path.join(ROOT, "tests", "integration"))

from fleet import FleetTest, program  # noqa: E402  (found through the line before)

WORKER = "ballast-worker"
DATA = "/var/lib/ballast"
LOG = "/var/log/worker.log"
PID = "/run/worker.pid"
# The worker's own group, as a service manager makes one for a unit with Delegate=yes and MemoryMin=.
GROUP = "/sys/fs/cgroup/worker.service"
# What a worker asks to be kept for it.
AGENT_MIB = 32
# For what takes a second or two on a machine that has its processors to itself.
PATIENCE_S = 180
# The host as the machine sees it.
HOST = "10.0.2.2"


class Device:
    """A machine with a worker on it, which dials in to the coordinator at `address` on this host."""

    def __init__(self, directory, address, device_id="device", limit_mib=0, programs=None, without_kernel_log=False, **machine):
        programs = {**(programs or {}), WORKER: program("ballast-worker-static")}
        self.machine = VirtualMachine(directory, programs=programs, **machine)
        self.device_id = device_id
        self._port = address.rsplit(":", 1)[1]
        self._limit_mib = limit_mib
        self._without_kernel_log = without_kernel_log

    def start_worker(self, *flags):
        """Starts the worker in a cgroup of its own and returns its pid."""
        # As a service manager does, it first removes what an earlier one left.
        left = f"[ -d {GROUP} ] && ! find {GROUP} -depth -type d -exec rmdir {{}} +"
        self.machine.run(f"while {left}; do usleep 10000; done; rm -f {PID}")
        self.machine.run(f"mkdir {GROUP}; [ ! -e {GROUP}/memory.min ] || echo {AGENT_MIB * MIB} >{GROUP}/memory.min")
        if self._without_kernel_log:
            self.machine.run("rm -f /dev/kmsg")
        if self._limit_mib:
            self.machine.run(f"echo {self._limit_mib * MIB} >{GROUP}/memory.max; echo 0 >{GROUP}/memory.swap.max")
        arguments = ["--coordinator", f"{HOST}:{self._port}", "--insecure", "--data-dir", DATA, "--device-id", self.device_id, *flags]
        start = f"echo 0 >{GROUP}/cgroup.procs; echo $$ >{PID}; exec setsid {WORKER} {shlex.join(arguments)}"
        self.machine.run(f"sh -c {shlex.quote(start)} >>{LOG} 2>&1 & until [ -s {PID} ]; do usleep 10000; done")
        return self.worker_pid()

    def worker_pid(self):
        """The agent's; 0 where it is gone."""
        return int(self.machine.run(f"pid=$(cat {PID}); grep -qsx {WORKER} /proc/$pid/comm && echo $pid || echo 0"))

    def worker_log(self):
        return self.machine.run(f"cat {LOG}")


def wall_time_s(text):
    """A time of a report as seconds since 1970."""
    return datetime.datetime.fromisoformat(text).timestamp()


def sample_times_s(attempt):
    """The times of the last samples before the end of an attempt, by the device's wall clock."""
    start = wall_time_s(attempt["start_time"])
    offsets = attempt["result"]["outcome"]["evidence"]["last_samples"]["offset_ms"]
    return [start + offset / 1000 for offset in offsets]


class DeviceTest(FleetTest):
    """A test with a coordinator on this host and a device of its own. What the device said is printed where the test fails."""

    def start_device(self, **options):
        """Boots a device, starts its worker and waits until it is ready. Options are those of Device and VirtualMachine."""
        if self.address is None:
            self.coordinator = self.start_coordinator()
        self.device = Device(self.path("device"), self.address, **options)
        self.addCleanup(self.device.machine.close)
        self.addCleanup(self._print_last_words)
        self.device.machine.boot()
        pid = self.device.start_worker()
        self.wait_for_device(self.device.device_id, timeout_s=PATIENCE_S)
        return pid

    def simple(self, *flags, timeout_s=300):
        """Carries out `ballast simple` on the device and returns its one run, and the report."""
        result = self.ballast("simple", *flags, "--output", "json", timeout_s=timeout_s)
        self.assertIn(result.code, (0, 1), result.err)
        (run,) = result.json["runs"]
        return run["run"], result.json

    def wait_until_ready(self):
        self.wait_for_device(self.device.device_id, ("READY",), PATIENCE_S)

    def _print_last_words(self):
        result = self._outcome.result
        if not any(test is self for test, _ in result.failures + result.errors):
            return
        machine = self.device.machine
        print(f"---- console of the device\n{machine.console()}", file=sys.stderr)
        if machine.running:
            for command in (f"tail -n 200 {LOG}", "dmesg | tail -n 200", "cat /proc/meminfo /proc/pressure/memory; ps | grep -v [[]"):
                try:
                    print(f"---- {command}\n{machine.try_run(command, 20).out}", file=sys.stderr)
                except AssertionError as error:
                    print(f"---- {command}: {error}", file=sys.stderr)
                    return
