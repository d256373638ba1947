"""One command, and runs of jobs, on a smaller machine: limits hold, and whatever is killed when, nothing is left."""

import glob
import os
import random
import signal
import subprocess
import sys
import time
import unittest

from fleet import MIB, FleetTest, LimitedGroup, process_exists, program, runners_of, wait_until

REFUSED = 6
# Rounds of random kills; a quick look by default.
ROUNDS = int(os.environ.get("BALLAST_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("BALLAST_KILL_SEED", "0")) or random.randrange(1, 1 << 31)
# Everything that this program names so is its own.
GROUPS = "/sys/fs/cgroup/**/ballast-*-*-*"
ALLOCATE = "import sys; held = bytearray(int(sys.argv[1]) << 20); held[::4096] = b'x' * len(held[::4096]); print('held')"
# In a session of their own: out of reach of anything but the cgroup.
FAMILY = "setsid sleep 300 & setsid sh -c 'setsid sleep 300 & sleep 300' & sleep {0}"


def allocate(mebibytes):
    return [sys.executable, "-c", ALLOCATE, str(mebibytes)]


class EnvironmentTest(FleetTest):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs the right to make cgroups (run as root)")

    def read_mounts(self):
        """Mounts that this test could have made: others may run beside it."""
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            own = (self.directory, "/ballast-env-", "/ballast-run-")
            return [mount for mount in mounts.read().splitlines() if any(name in mount for name in own)]

    @staticmethod
    def groups():
        """Groups of this program by name, with those of other tests that run at the same time."""
        return set(glob.glob(GROUPS, recursive=True))

    def groups_of(self, pids):
        return [group for group in self.groups() if any(f"-{pid}-" in os.path.basename(group) for pid in pids)]

    def profile(self, text):
        path = self.path("profile.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self, profile, *command, **options):
        return subprocess.Popen(
            [program("ballast-worker"), "--run-environment", profile, "--", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # fmt: skip

    def run_in(self, profile, *command, **options):
        """Runs a command in the environment; its exit code, and what it and the wrapper said."""
        process = self.start(profile, *command, **options)
        out, err = process.communicate(timeout=60)
        self.assertEqual(self.groups_of([process.pid]), [])
        return process.returncode, out, err


class CommandTest(EnvironmentTest):
    def test_an_oom_kill_at_the_limit_is_told(self):
        profile = self.profile("name: 极限128MB模式\nmemory_bytes: 128MiB\n")
        code, out, err = self.run_in(profile, *allocate(64))
        self.assertEqual((code, out), (0, "held\n"), err)
        code, out, err = self.run_in(profile, *allocate(256))
        self.assertEqual((code, out), (137, ""), err)
        self.assertIn("was OOM-killed at the limit of the environment '极限128MB模式': 128 MiB of memory and no swap", err)
        self.assertRegex(err, r"(?m)^  at /.*/ballast-env-.*: 134217728$")
        self.assertRegex(err, r"(?m)^  try: ")

    def test_its_streams_and_exit_are_its_own(self):
        profile = self.profile("name: small\nmemory_bytes: 64MiB\n")
        self.assertEqual(self.run_in(profile, "sh", "-c", "echo out; echo err >&2; exit 9"), (9, "out\n", "err\n"))
        self.assertEqual(self.run_in(profile, "sh", "-c", "kill -INT $$")[0], 130)
        code, _, err = self.run_in(profile, "no-such-command")
        self.assertEqual(code, 127)
        self.assertIn("no-such-command", err)
        self.assertEqual(self.run_in(profile, "/etc/passwd")[0], 126)

    def test_signals_are_passed_on(self):
        profile = self.profile("name: small\nmemory_bytes: 64MiB\n")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            name = number.name.removeprefix("SIG")
            process = self.start(profile, "sh", "-c", f"trap 'echo {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done")
            self.assertEqual(process.stdout.readline(), "ready\n")
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
            self.assertEqual((process.returncode, out), (5, f"{name}\n"), err)

    def test_a_smaller_limit_above_is_refused(self):
        profile = self.profile("name: small\nmemory_bytes: 256MiB\n")
        group = LimitedGroup(128 * MIB)
        self.addCleanup(group.remove)
        code, out, err = self.run_in(profile, "touch", self.path("started"), preexec_fn=group.join)
        self.assertEqual((code, out), (REFUSED, ""), err)
        self.assertIn("error: the environment 'small' wants memory of 256 MiB, and a cgroup above it allows only 128 MiB\n", err)
        self.assertIn(f"  at {group.path}/memory.", err)
        self.assertFalse(os.path.exists(self.path("started")))

    def test_a_profile_may_come_from_a_descriptor(self):
        read, write = os.pipe()
        os.write(write, b"name: piped\nmemory_bytes: 64MiB\n")
        os.close(write)
        self.addCleanup(os.close, read)
        self.assertEqual(self.run_in(f"/dev/fd/{read}", "echo", "hello", pass_fds=[read]), (0, "hello\n", ""))
        code, _, err = self.run_in(self.profile("name: typo\nmemroy_bytes: 64MiB\n"), "true")
        self.assertEqual(code, 2)
        self.assertIn("profile.yaml:2:1", err)

    def test_it_takes_little_time(self):
        profile = self.profile("name: small\nmemory_bytes: 64MiB\ncpus: 1\n")
        times = []
        for _ in range(10):
            start = time.monotonic()
            self.assertEqual(self.run_in(profile, "true")[0], 0)
            times.append(time.monotonic() - start)
        print(f"start to end of `true`: median {sorted(times)[5] * 1000:.0f} ms, worst {max(times) * 1000:.0f} ms")


class RandomKillTest(EnvironmentTest):
    """SIGKILL at random instants, of the wrapper, of what it runs, of an agent or of its runner."""

    def setUp(self):
        super().setUp()
        print(f"BALLAST_KILL_SEED={SEED}, {ROUNDS} rounds")
        self.random = random.Random(SEED)

    def check_nothing_is_left(self, owners, family):
        wait_until(lambda: not self.groups_of(owners), 20, f"groups to be gone: {self.groups_of(owners)}")
        wait_until(lambda: not [pid for pid in family if process_exists(pid)], 20, "processes to be gone")
        self.assertEqual(self.read_mounts(), [])

    def family_of(self, owners):
        """Every process in a group of the owners."""
        pids = []
        for group in self.groups_of(owners):
            try:
                with open(os.path.join(group, "cgroup.procs"), encoding="ascii") as procs:
                    pids += [int(pid) for pid in procs.read().split() if int(pid) > 0]
            except OSError:
                continue
        return set(pids)

    def kill(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def test_of_the_wrapper_and_its_command(self):
        profile = self.profile("name: small\nmemory_bytes: 96MiB\ncpus: 1\n")
        for _ in range(ROUNDS):
            victim = self.random.choice(("wrapper", "wrapper", "command", "nobody"))
            process = self.start(profile, "sh", "-c", FAMILY.format(0.1 if victim == "nobody" else 300))
            self.addCleanup(process.kill)
            time.sleep(self.random.random() * 0.15)
            family = self.family_of([process.pid])
            if victim == "command":
                # Whatever of it is there by then; the shell itself among it in the end.
                while process.poll() is None:
                    for pid in self.family_of([process.pid]):
                        self.kill(pid)
            elif victim == "wrapper":
                process.kill()
            process.wait(30)
            process.stdout.close()
            process.stderr.close()
            self.check_nothing_is_left([process.pid], family)

    def test_of_the_agent_and_its_runner(self):
        # Kills in a row are no reason to set the device aside here.
        with open(self.path("coordinator.yaml"), "w", encoding="utf-8") as configuration:
            configuration.write("scheduling: {quarantine_after: 0}\ndata_dir: /unused\n")
        self.start_coordinator("--config", self.path("coordinator.yaml"), "--heartbeat-interval", "0.2")
        with open(self.path("job.yaml"), "w", encoding="utf-8") as job:
            job.write("workload: {pressure: {staircase: {step_size_bytes: 8MiB, interval: 0.2, steps: 4}, baseline: 0, recovery: 0}}\n"
                      "environment_profile: {name: small, memory_bytes: 128MiB, cpus: 1}\n")  # fmt: skip
        worker = self.start_worker("dev-1")
        agents = [worker.pid]
        for _ in range(max(ROUNDS // 4, 1)):
            victim = self.random.choice(("agent", "runner", "nobody"))
            job = self.submit("submit", self.path("job.yaml"))
            if victim != "nobody":
                if self.random.random() < 0.7:
                    wait_until(lambda: runners_of(worker.pid), 20, "a runner")
                time.sleep(self.random.random() * 0.3)
            family = self.family_of([worker.pid])
            if victim == "agent":
                worker.kill()
                self.check_nothing_is_left([worker.pid], family)
                worker = self.start_worker("dev-1")
                agents.append(worker.pid)
            elif victim == "runner":
                for pid in runners_of(worker.pid):
                    self.kill(pid)
            report = self.watch(job)
            self.assertEqual(report["runs"][0]["run"]["state"], "ENDED")
            self.check_nothing_is_left(agents, family)
        worker.terminate()
        self.check_nothing_is_left(agents, [])


if __name__ == "__main__":
    unittest.main()
