"""Commands in containers that have the limits of a profile: podman, and the docker command line on podman's socket.

Needs root, podman, runc and a static busybox; what is missing is said, and the test skipped.
"""

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import tarfile
import unittest

from fleet import FleetTest, MIB, program, wait_until

IMAGE = "localhost/ballast-test:1"
PROFILES = """
environments:
  - {name: 小机器, aliases: [small], memory_bytes: 64MiB}
  - {name: half, memory_bytes: 96MiB, cpus: 0.5}
  - {name: light, memory_bytes: 96MiB, cpu_weight: 50}
"""
# Rights that an ordinary machine has and a sandbox may not: asked for once, so that the engine need not be.
CONTAINERS_CONF = """
[containers]
netns = "none"
default_ulimits = ["nofile=4096:4096", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


def missing():
    for name in ("podman", "runc", "busybox"):
        if shutil.which(name) is None:
            return f"there is no {name} (deploy/install-dependencies.sh --containers)"
    if os.geteuid() != 0:
        return "not root"
    return None


def busybox_rootfs(path):
    """A root file system of busybox alone, as a tar file."""
    with tarfile.open(path, "w") as tar:
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(shutil.which("busybox"), "bin/busybox")
        for name in ("sh", "cat", "tail", "sleep", "echo", "nproc"):
            entry = tarfile.TarInfo("bin/" + name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)


def remove_groups(top):
    """Removes a cgroup and those in it, as far as they are empty. What is left."""
    for path, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(path)
    return os.path.isdir(top)


class ContainersTest(FleetTest):
    engine = "podman"

    def setUp(self):
        if missing():
            self.skipTest(missing())
        super().setUp()
        self.variables = {
            "CONTAINERS_CONF": self.write("containers.conf", CONTAINERS_CONF),
            "CONTAINERS_STORAGE_CONF": self.write(
                "storage.conf",
                f'[storage]\ndriver = "overlay"\ngraphroot = "{self.path("store")}"\nrunroot = "{self.path("run")}"\n',
            ),
            # Every name must go through where the locale knows ASCII alone.
            "TMPDIR": self.path("tmp"),
            "LANG": "C",
            "LC_ALL": "C",
        }
        os.mkdir(self.path("tmp"))
        self.profiles = self.write("profiles.yaml", PROFILES)
        rootfs = self.path("rootfs.tar")
        busybox_rootfs(rootfs)
        imported = self.podman("import", rootfs, IMAGE)
        if imported.returncode != 0:
            self.skipTest(f"podman does not work here: {imported.stderr}")
        probe = self.podman("run", "--rm", "--memory=64m", IMAGE, "echo", "works")
        if probe.returncode != 0:
            self.skipTest(f"podman cannot run a container with a limit here: {probe.stderr}")
        self.addCleanup(self.podman, "system", "reset", "--force")

    def write(self, name, content):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(content)
        return self.path(name)

    def podman(self, *arguments):
        return subprocess.run(["podman", *arguments], env=dict(os.environ, **self.variables), capture_output=True,
                              text=True, timeout=60, check=False)

    def arguments(self, environment, *command):
        return ["env", "run", environment, "--engine", self.engine, "--image", IMAGE, "--env-file", self.profiles, "--",
                *command]

    def run_in(self, environment, *command):
        return self.ballast(*self.arguments(environment, *command), environment=self.variables)

    def assert_nothing_left(self):
        left = self.podman("ps", "--all", "--format", "{{.Names}}").stdout.split()
        self.assertEqual(left + os.listdir(self.path("tmp")), [])

    def test_the_limits_are_seen_from_inside(self):
        look = ("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes "
                "2>/dev/null || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.swap.max")
        for name, memory in (("极限2GB模式", 2048 * MIB), ("2gb-noswap", 2048 * MIB), ("手机模拟", 3072 * MIB),
                             ("老旧设备", 2560 * MIB), ("小机器", 64 * MIB)):
            result = self.run_in(name, "sh", "-c", look)
            self.assertEqual(result.code, 0, result.err)
            self.assertIn(result.out.split(), ([str(memory), str(memory)], [str(memory), "0"]), name)
            self.assertEqual(result.err, "")
        self.assert_nothing_left()

    def test_processors_are_limited(self):
        look = ("cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us "
                "2>/dev/null || cat /sys/fs/cgroup/cpu.max")
        result = self.run_in("half", "sh", "-c", look)
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual(result.out.split()[0], "50000")

    def test_the_weight_of_the_processors_is_set_and_read_back(self):
        look = "cat /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || cat /sys/fs/cgroup/cpu.weight"
        result = self.ballast("env", "run", "light", "--engine", self.engine, "--image", IMAGE, "--env-file", self.profiles, "--verbose",
                              "--", "sh", "-c", look + "; sleep 1", environment=self.variables)
        self.assertEqual(result.code, 0, result.err)
        self.assertIn(result.out.split(), (["512"], ["50"]))
        self.assertRegex(result.err, r"note: /sys/fs/cgroup/\S+/cpu\.(shares: 512|weight: 50)")

    def test_a_flag_that_would_take_the_container_away_is_refused(self):
        for flag in ("--name=foo", "--rm"):
            result = self.ballast("env", "run", "small", "--engine", self.engine, "--image", IMAGE, "--env-file", self.profiles,
                                  f"--engine-flag={flag}", "--", "true", environment=self.variables)
            self.assertEqual(result.code, 2, result.err)
            self.assertIn("the engine cannot be given --", result.err)
        self.assert_nothing_left()

    def test_a_flag_that_the_engine_does_not_know(self):
        result = self.ballast("env", "run", "small", "--engine", self.engine, "--image", IMAGE, "--env-file", self.profiles,
                              "--engine-flag=--nonsense", "--", "true", environment=self.variables)
        self.assertEqual(result.code, 6, result.err)
        self.assertIn("try: leave that flag out (--engine-flag)", result.err)

    def test_streams_and_exit_codes_go_through(self):
        env = dict(os.environ, **self.variables)
        completed = subprocess.run([program("ballast"), *self.arguments("small", "sh", "-c", "cat; echo to-err >&2; exit 7")],
                                   input=b"from-in\x00\xff", capture_output=True, env=env, timeout=60, check=False)
        self.assertEqual(completed.returncode, 7, completed.stderr)
        self.assertEqual(completed.stdout, b"from-in\x00\xff")
        self.assertEqual(completed.stderr, b"to-err\n")
        self.assert_nothing_left()

    def test_an_oom_kill_is_told(self):
        result = self.run_in("small", "tail", "/dev/zero")
        self.assertEqual(result.code, 137, result.err)
        self.assertIn("the kernel ended the command at the limit of 小机器 (64 MiB, no swap)", result.err)
        # The command goes on, and so does its exit code.
        result = self.run_in("small", "sh", "-c", "tail /dev/zero; sleep 0.2; exit 3")
        self.assertEqual(result.code, 3, result.err)
        self.assertNotIn("oom", os.listdir(self.directory), "the note of podman's monitor")
        self.assert_nothing_left()

    def test_a_program_that_is_not_there(self):
        result = self.run_in("small", "no-such-program")
        self.assertEqual(result.code, 127, result.err)
        self.assert_nothing_left()

    def test_an_interrupt_removes_the_container(self):
        env = dict(os.environ, **self.variables)
        process = subprocess.Popen([program("ballast"), *self.arguments("small", "sh", "-c", "echo ready; sleep 600")],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env)
        try:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=40)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        self.assertEqual(process.returncode, 130, err)
        self.assert_nothing_left()

    def test_a_machine_without_the_swap_refuses(self):
        with open("/proc/swaps", encoding="ascii") as swaps:
            if len(swaps.readlines()) > 1:
                self.skipTest("this machine has swap")
        result = self.run_in("4GB连线", "echo", "never")
        self.assertEqual(result.code, 6, result.err)
        self.assertIn("wants 2 GiB of swap, and the device has 0 B", result.err)
        self.assertEqual(result.out, "")

    def test_a_tighter_group_above_is_another_machine(self):
        above = "/sys/fs/cgroup/memory/ballast-test-tight"
        if not os.path.isdir(os.path.dirname(above)):
            self.skipTest("the group is made in the hierarchy of version 1")
        os.mkdir(above)
        # The engine makes it in every hierarchy, and leaves the group of its own helper in it.
        for tree in glob.glob("/sys/fs/cgroup/*/"):
            top = os.path.join(tree, os.path.basename(above))
            # Its helper may take a moment to leave.
            self.addCleanup(wait_until, lambda top=top: not remove_groups(top), 30, f"the groups of {top} to be empty")
        with open(above + "/memory.limit_in_bytes", "w", encoding="ascii") as limit:
            limit.write(str(32 * MIB))
        result = self.ballast("env", "run", "small", "--engine", self.engine, "--image", IMAGE, "--env-file", self.profiles,
                              "--engine-flag=--cgroup-parent=/ballast-test-tight", "--", "sleep", "20",
                              environment=self.variables)
        self.assertEqual(result.code, 6, result.err)
        self.assertIn("'小机器' wants memory of 64 MiB, and a cgroup above it allows only 32 MiB", result.err)
        self.assertIn("ballast-test-tight/memory.limit_in_bytes: 33554432", result.err)
        self.assert_nothing_left()

    def test_what_a_killed_program_left_is_removed_by_the_next(self):
        env = dict(os.environ, **self.variables)
        process = subprocess.Popen([program("ballast"), *self.arguments("small", "sh", "-c", "echo ready; sleep 600")],
                                   stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env)
        try:
            self.assertEqual(process.stdout.readline(), b"ready\n")
        finally:
            # The engine's client may live on with the pipe, until the container is removed.
            process.kill()
            process.wait(10)
            process.stdout.close()
        result = self.run_in("small", "echo", "next")
        self.assertEqual((result.code, result.out), (0, "next\n"), result.err)
        self.assert_nothing_left()

    def test_an_image_that_is_not_there(self):
        result = self.ballast("env", "run", "small", "--engine", self.engine, "--image", "localhost/none:1", "--env-file",
                              self.profiles, "--", "true", environment=self.variables)
        self.assertEqual(result.code, 6, result.err)
        self.assertIn("could not make a container of the image localhost/none:1", result.err)
        self.assertIn("try: name an image that is there", result.err)


class DockerTest(ContainersTest):
    """The same through the docker command line, which talks to podman's socket."""

    engine = "docker"

    def setUp(self):
        if shutil.which("docker") is None:
            self.skipTest("there is no docker command line")
        super().setUp()
        socket = self.path("p.sock")
        with open(self.path("service.log"), "wb") as log:
            service = subprocess.Popen(["podman", "system", "service", "--time=0", "unix://" + socket], stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, env=dict(os.environ, **self.variables),
                                       cwd=self.path("run"))

        def end():
            service.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.wait(10)
            service.kill()
            service.wait(10)

        self.addCleanup(end)
        wait_until(lambda: os.path.exists(socket), 20, "podman's socket")
        self.variables["DOCKER_HOST"] = "unix://" + socket


if __name__ == "__main__":
    unittest.main()
