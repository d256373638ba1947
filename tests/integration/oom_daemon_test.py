"""A real userspace OOM daemon (Debian's earlyoom) ends a runner, and is named.

All of it runs in a pid namespace of its own, so that the daemon sees, and can end, nothing else; and the daemon alone sees a
/proc/meminfo of the test's own, so that the machine need not run out of memory.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from fleet import BIN, FleetTest, Program, process_exists, wait_until

INSIDE = "BALLAST_TEST_IN_NAMESPACE"
# Unpacked, not installed: installed it would become a service that ends processes of this machine.
CACHE = os.path.join(os.path.dirname(os.path.abspath(BIN)), "earlyoom")
LONG = ("simple", "--mode", "staircase", "--step-size", "32", "--interval", "1", "--steps", "100", "--baseline", "0")
MEMINFO = "MemTotal: 4000000 kB\nMemFree: {0} kB\nMemAvailable: {0} kB\nBuffers: 0 kB\nCached: 0 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
PLENTY_KIB = 3000000
# Below 10 %, where earlyoom sends SIGTERM, and above 5 %, where it sends SIGKILL.
LOW_KIB = 300000


def earlyoom():
    """The program's path, from the package where it is not installed; None where there is none to be had."""
    unpacked = os.path.join(CACHE, "usr", "bin", "earlyoom")
    if os.path.exists(unpacked) or not shutil.which("apt-get"):
        return unpacked if os.path.exists(unpacked) else shutil.which("earlyoom")
    os.makedirs(os.path.dirname(CACHE), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(CACHE)) as directory:
        download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", "earlyoom"]
        subprocess.run(download, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        for package in glob.glob(os.path.join(directory, "*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, os.path.join(directory, "root")], check=True)
            os.rename(os.path.join(directory, "root"), CACHE)
    return unpacked if os.path.exists(unpacked) else shutil.which("earlyoom")


class OomDaemonTest(FleetTest):
    def setUp(self):
        super().setUp()
        self.start_coordinator("--heartbeat-interval", "0.2")
        self.worker = self.start_worker("dev-1")

    def start_daemon(self):
        self.set_available(PLENTY_KIB)
        mount = f"mount --bind {self.path('meminfo')} /proc/meminfo && exec {earlyoom()} -r 0 -m 10 -s 100"
        daemon = Program(["unshare", "--mount", "sh", "-c", mount], self.path("earlyoom.log"), stdout=subprocess.DEVNULL)
        self.addCleanup(daemon.close)
        wait_until(lambda: "sending SIGTERM when" in daemon.log(), 10, "earlyoom to start")
        return daemon

    def set_available(self, kib):
        # In place: what is mounted is the file, not its name.
        with open(self.path("meminfo"), "w", encoding="ascii") as meminfo:
            meminfo.write(MEMINFO.format(kib))

    def test_its_termination_is_an_oom_kill_with_its_name(self):
        daemon = self.start_daemon()
        job = self.submit(*LONG)
        runner = self.worker.runner_pid()
        self.wait_for_run(job + ".1", "RUNNING")
        self.set_available(LOW_KIB)
        wait_until(lambda: not process_exists(runner), 20, "earlyoom to end the runner")
        self.set_available(PLENTY_KIB)
        run = self.watch(job)["runs"][0]["run"]
        evidence = run["outcome"]["evidence"]
        self.assertEqual(run["outcome"]["kind"], "OOM_KILLED", run["outcome"])
        self.assertEqual(evidence["killer"], "USERSPACE_OOM_DAEMON")
        self.assertEqual(evidence["signal_sender"], {"pid": daemon.pid, "command": "earlyoom"})
        self.assertEqual(evidence["oom_daemons"], ["earlyoom"])
        self.assertIn(f"earlyoom (pid {daemon.pid})", run["outcome"]["message"])
        self.assertTrue(process_exists(self.worker.pid))


def main():
    if os.environ.get(INSIDE):
        unittest.main()
    if not earlyoom():
        print("SKIPPED: the package lists do not know earlyoom, or it cannot be downloaded; try: apt-get update")
        return
    namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode != 0:
        print("SKIPPED: a pid namespace cannot be made here (run as root)")
        return
    os.execvpe("unshare", [*namespace, sys.executable, "-B", *sys.argv], {**os.environ, INSIDE: "1"})


if __name__ == "__main__":
    main()
