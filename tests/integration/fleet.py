"""A coordinator, workers and the command line as real programs, for tests.

Everything lives in one temporary directory and ends with the test; processes are ended by their own pids.
"""

import contextlib
import glob
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("BALLAST_BIN_DIR", os.path.join(ROOT, "build", "dev", "bin"))
MIB = 1 << 20


def program(name):
    return os.path.join(BIN, name)


def wait_until(condition, timeout_s, what):
    """Waits for a condition on something that offers no event (files under /proc, a remote list)."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.01)


def process_exists(pid):
    """Whether a process runs; a zombie does not count."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid):
    found = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as children:
            found += [int(child) for child in children.read().split()]
    return found


def command_of(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().strip()
    except OSError:
        return ""


def runners_of(pid):
    """The children of an agent but for the keeper of its run."""
    return [child for child in children_of(pid) if command_of(child) != "ballast-keeper"]


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Program:
    """One started program; its standard error is kept in a file."""

    def __init__(self, arguments, log_path, **popen):
        self.log_path = log_path
        with open(log_path, "ab") as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=log, **popen)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def terminate(self, timeout_s=10):
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.process.wait(timeout_s)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()


class Coordinator(Program):
    def __init__(self, directory, listen="127.0.0.1:0", *flags, name="ballast-coordinator", environment=None):
        super().__init__(
            [program(name), "--listen", listen, "--data-dir", directory, *flags],
            directory + ".log",
            stdout=subprocess.PIPE,
            env=dict(os.environ, **(environment or {})),
        )
        self.directory = directory
        ready, _, _ = select.select([self.process.stdout], [], [], 20)
        line = self.process.stdout.readline().decode() if ready else ""
        if not line.startswith("listening on "):
            self.close()
            raise AssertionError(f"the coordinator did not start ({line!r}, exit code {self.process.returncode}):\n{self.log()}")
        self.address = line.split()[-1]

    @property
    def database(self):
        return os.path.join(self.directory, "ballast.db")


class Worker(Program):
    def __init__(self, directory, address, device_id, labels="", *flags, preexec_fn=None, enter=()):
        """`enter` goes before the program: it enters something (a namespace, say) and executes the rest in its own place."""
        arguments = [*enter, program("ballast-worker"), "--coordinator", address, "--data-dir", directory]
        arguments += ["--device-id", device_id, *flags]
        if labels:
            arguments += ["--labels", labels]
        super().__init__(arguments, directory + ".log", stdout=subprocess.DEVNULL, preexec_fn=preexec_fn)
        self.directory = directory
        self.device_id = device_id

    def runner_pid(self, timeout_s=10):
        """The pid of the runner, once there is one that holds memory of its own."""
        return wait_until(lambda: next(iter(runners_of(self.pid)), None), timeout_s, "a runner of " + self.device_id)


class Result:
    """What a command of the command line left."""

    def __init__(self, completed):
        self.code = completed.returncode
        self.out = completed.stdout.decode()
        self.err = completed.stderr.decode()

    @property
    def json(self):
        return json.loads(self.out)


class FleetTest(unittest.TestCase):
    """A test with a temporary directory in which programs can be started."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="ballast-test-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.address = None

    def path(self, name):
        return os.path.join(self.directory, name)

    def start_coordinator(self, *flags, listen="127.0.0.1:0", name="coordinator"):
        coordinator = Coordinator(self.path(name), listen, *flags)
        self.addCleanup(coordinator.close)
        self.address = coordinator.address
        return coordinator

    def start_worker(self, device_id, labels="", *flags, wait=True, **options):
        worker = Worker(self.path("worker-" + device_id), self.address, device_id, labels, *flags, **options)
        self.addCleanup(worker.close)
        if wait:
            self.wait_for_device(device_id)
        return worker

    def wait_for_device(self, device_id, states=("READY", "BUSY"), timeout_s=20):
        def connected():
            result = self.ballast("devices", "show", device_id, "--output", "json")
            return result.code == 0 and result.json["state"] in states

        wait_until(connected, timeout_s, f"device {device_id} in {states}")

    def ballast(self, *arguments, timeout_s=120, environment=None, local=False, preexec_fn=None):
        """Runs one command against the coordinator of this test, or in local mode in a data directory of this test."""
        env = dict(os.environ, XDG_DATA_HOME=self.path("data"), XDG_CONFIG_HOME=self.path("config"))
        env.pop("BALLAST_COORDINATOR", None)
        if self.address and not local:
            env["BALLAST_COORDINATOR"] = self.address
        env.update(environment or {})
        return Result(
            subprocess.run(
                [program("ballast"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=timeout_s,
                env=env,
                cwd=self.directory,
                check=False,
                preexec_fn=preexec_fn,
            )
        )

    def submit(self, *arguments):
        """Submits a job without waiting for it and returns its identifier."""
        result = self.ballast(*arguments, "--detach", "--output", "json")
        self.assertEqual(result.code, 0, result.err)
        return result.json["job_id"]

    def watch(self, job_id, timeout_s=60):
        """Waits until a job has ended and returns its report."""
        result = self.ballast("watch", job_id, "--output", "json", timeout_s=timeout_s)
        self.assertIn(result.code, (0, 1), result.err)
        return result.json

    def runs_of(self, job_id):
        result = self.ballast("runs", "list", "--job", job_id, "--output", "json")
        self.assertEqual(result.code, 0, result.err)
        return result.json["runs"]

    def wait_for_run(self, run_id, state, timeout_s=20):
        def reached():
            run = self.ballast("runs", "show", run_id, "--output", "json").json
            return run if run["state"] == state else None

        return wait_until(reached, timeout_s, f"run {run_id} in state {state}")


def query(database, sql, *parameters):
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(sql, parameters).fetchall()


class LimitedGroup:
    """A memory cgroup of this test with a limit, on version 1 or 2. Enter it in a child through `join`."""

    V1 = "/sys/fs/cgroup/memory"
    V2 = "/sys/fs/cgroup"

    PREFIX = "ballast-test-"

    def __init__(self, limit_bytes):
        name = f"{self.PREFIX}{os.getpid()}"
        if os.path.isdir(self.V1):
            self.sweep(self.V1)
            self.path = os.path.join(self.V1, name)
            limits = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        elif os.path.exists(os.path.join(self.V2, "cgroup.controllers")):
            with open(os.path.join(self.V2, "cgroup.subtree_control"), "w", encoding="ascii") as control:
                control.write("+memory")
            self.sweep(self.V2)
            self.path = os.path.join(self.V2, name)
            limits = ("memory.max",)
        else:
            raise OSError("no memory cgroup hierarchy is mounted")
        os.mkdir(self.path)
        for limit in limits:
            with contextlib.suppress(FileNotFoundError), open(os.path.join(self.path, limit), "w", encoding="ascii") as f:
                f.write(str(limit_bytes))

    def join(self):
        with open(os.path.join(self.path, "cgroup.procs"), "w", encoding="ascii") as procs:
            procs.write(str(os.getpid()))

    def pids(self):
        with open(os.path.join(self.path, "cgroup.procs"), encoding="ascii") as procs:
            return [int(pid) for pid in procs.read().split()]

    def oom_kills(self):
        for name in ("memory.oom_control", "memory.events"):
            with contextlib.suppress(FileNotFoundError), open(os.path.join(self.path, name), encoding="ascii") as f:
                for line in f:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        return 0

    def remove(self):
        self.end(self.path)

    @classmethod
    def sweep(cls, hierarchy):
        """Ends what tests that were killed have left: groups are named after the test's process."""
        for name in os.listdir(hierarchy):
            pid = name.removeprefix(cls.PREFIX).split("-")[0]
            if name.startswith(cls.PREFIX) and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
                with contextlib.suppress(FileNotFoundError):  # another test ends it, too
                    cls.end(os.path.join(hierarchy, name))

    @classmethod
    def end(cls, path):
        """Kills what is in a group and in those below it, and removes them."""
        for directory, _, _ in os.walk(path, topdown=False):
            wait_until(lambda directory=directory: cls._emptied(directory), 10, f"{directory} to be empty")
            os.rmdir(directory)

    @staticmethod
    def _emptied(directory):
        with open(os.path.join(directory, "cgroup.procs"), encoding="ascii") as procs:
            pids = [int(pid) for pid in procs.read().split()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids
