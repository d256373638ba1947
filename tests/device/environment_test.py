"""Environment profiles where cgroups are of version 2: by a command of its own and as part of a job, held to what the kernel then does."""

import json
import os
import shlex
import shutil
import tempfile
import unittest

from device import GROUP, PATIENCE_S, WORKER, DeviceTest
from fleet import program, wait_until
from machine import MIB, VirtualMachine

REFUSED = 6
ROOT_GROUP = "/sys/fs/cgroup"
NO_SWAP = "swap: {kind: NONE}\n"
# Touches both of its buffers to the end: as much memory as they are large together.
TOUCH = "dd if=/dev/zero of=/dev/null count=1 ibs={0}M obs={1}M"


class EnvironmentCommandTest(unittest.TestCase):
    """`ballast-worker --run-environment` on a machine without anything else of this program."""

    def boot(self, **options):
        directory = tempfile.mkdtemp(prefix="ballast-test-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        self.machine = VirtualMachine(directory, programs={WORKER: program("ballast-worker-static")}, **options)
        self.addCleanup(self.machine.close)
        self.machine.boot()

    def write_profile(self, text):
        self.machine.run(f"printf %s {shlex.quote(text)} >/run/profile.yaml")

    def run_in(self, command, before="", timeout_s=PATIENCE_S):
        """Runs a command in the environment; its exit code and all that was said."""
        words = f"{before} {WORKER} --run-environment /run/profile.yaml -- {command} 2>&1"
        return self.machine.try_run(words, timeout_s)

    def check_nothing_is_left(self, directory=ROOT_GROUP):
        self.assertEqual(self.machine.run(f"find {directory} -mindepth 1 -type d -name 'ballast-*'"), "")

    def swapped_out_pages(self):
        return int(self.machine.run("grep '^pswpout ' /proc/vmstat | cut -d' ' -f2"))

    def test_without_swap_it_ends_at_the_limit(self):
        self.boot(memory_mib=3072)
        self.write_profile("name: 2gb-noswap\nmemory_bytes: 2GiB\n" + NO_SWAP)
        result = self.run_in(TOUCH.format(1200, 1300), timeout_s=300)
        self.assertEqual(result.code, 137, result.out)
        self.assertIn("error: dd was OOM-killed at the limit of the environment '2gb-noswap': 2 GiB of memory and no swap", result.out)
        self.assertIn("/memory.max: 2147483648", result.out)
        self.assertIn("  try: ", result.out)
        self.check_nothing_is_left()
        # The shell goes on where the kernel kills what it has started, and the message says so all the same.
        result = self.run_in("sh -c " + shlex.quote(TOUCH.format(1200, 1300) + "; exit 3"), timeout_s=300)
        self.assertEqual(result.code, 3, result.out)
        self.assertIn("1 process of sh was OOM-killed at the limit of the environment '2gb-noswap'", result.out)
        self.check_nothing_is_left()

    def test_with_swap_it_swaps_instead(self):
        self.boot(memory_mib=1024, swap_mib=1024)
        touch = TOUCH.format(380, 400)
        self.write_profile("name: scaled-swap\nmemory_bytes: 512MiB\nswap: {kind: DEVICE, size_bytes: 1GiB}\n")
        before = self.swapped_out_pages()
        result = self.run_in(touch, timeout_s=400)
        self.assertEqual(result.code, 0, result.out)
        swapped = (self.swapped_out_pages() - before) * 4096 // MIB
        print(f"swapped out: {swapped} MiB")
        self.assertGreater(swapped, 150)
        # The same without swap, although the machine has some.
        self.write_profile("name: scaled-noswap\nmemory_bytes: 512MiB\n" + NO_SWAP)
        self.assertEqual(self.run_in(touch, timeout_s=400).code, 137)
        # More than there is, and of another kind.
        self.write_profile("name: more\nmemory_bytes: 512MiB\nswap: {kind: DEVICE, size_bytes: 2GiB}\n")
        result = self.run_in("true")
        self.assertEqual(result.code, REFUSED, result.out)
        self.assertIn("wants 2 GiB of swap, and the device has ", result.out)
        self.write_profile("name: other\nmemory_bytes: 512MiB\nswap: {kind: ZRAM, size_bytes: 256MiB}\n")
        result = self.run_in("true")
        self.assertEqual(result.code, REFUSED, result.out)
        self.assertIn("zram", result.out)
        self.check_nothing_is_left()

    def test_a_kernel_without_the_memory_controller_is_refused(self):
        self.boot(memory_mib=512, kernel_arguments="cgroup_disable=memory")
        self.write_profile("name: 256mb\nmemory_bytes: 256MiB\n" + NO_SWAP)
        result = self.run_in("touch /run/started")
        self.assertEqual(result.code, REFUSED, result.out)
        lines = result.out.splitlines()
        self.assertEqual(lines[0], "error: the environment '256mb' cannot be set up: no memory cgroup is mounted: the kernel was built or booted "
                         "without the memory controller")  # fmt: skip
        self.assertEqual(lines[1], "  at /proc/cgroups: memory")
        self.assertIn("cgroup_disable=memory", lines[2])
        self.assertEqual(self.machine.try_run("ls /run/started").code, 1, "the command was not started")
        facts = json.loads(self.machine.run(f"{WORKER} --print-facts"))
        self.assertNotIn("ENVIRONMENT_PROFILES", facts["capabilities"])
        self.assertTrue([text for text in facts["limitations"] if text.startswith("No environment profile can be applied: no memory cgroup")])

    def test_limits_ancestors_and_users(self):
        self.boot(memory_mib=1024)
        self.write_profile("name: slow\nmemory_bytes: 256MiB\nmemory_high_bytes: 200MiB\ncpus: 0.5\ncpu_weight: 50\n"
                           "io_read_bytes_per_second: 4MiB\nio_write_bytes_per_second: 2MiB\npage_cache: COLD\n" + NO_SWAP)  # fmt: skip
        # What is in it can see its own limits.
        files = "memory.max memory.swap.max memory.high cpu.max cpu.weight io.max"
        inside = f'cd {ROOT_GROUP}$(cut -d: -f3 /proc/self/cgroup); for f in {files}; do echo "$f: $(cat $f)"; done; pwd'
        result = self.run_in("sh -c " + shlex.quote(inside))
        self.assertEqual(result.code, 0, result.out)
        self.assertIn("memory.max: 268435456\nmemory.swap.max: 0\nmemory.high: 209715200\ncpu.max: 50000 100000\ncpu.weight: 50\n", result.out)
        self.assertIn("rbps=4194304 wbps=2097152", result.out)
        self.assertIn(f"{ROOT_GROUP}/ballast-env-", result.out)
        self.check_nothing_is_left()

        # An ancestor that allows less. The process is alone in its cgroup, as a service with Delegate=yes.
        self.write_profile("name: 256mb\nmemory_bytes: 256MiB\n" + NO_SWAP)
        enter = "mkdir {0}; echo {1} >{0}/memory.max; sh -c 'echo 0 >{0}/cgroup.procs; echo $$ >/run/wrapper; exec {2} --run-environment /run/profile.yaml -- {3}' 2>&1"
        small = f"{ROOT_GROUP}/small"
        result = self.machine.try_run(enter.format(small, 128 * MIB, WORKER, "true"))
        self.assertEqual(result.code, REFUSED, result.out)
        self.assertIn("'256mb' wants memory of 256 MiB, and a cgroup above it allows only 128 MiB", result.out)
        self.assertIn(f"  at {small}/memory.max: 134217728", result.out)
        self.check_nothing_is_left(small)
        self.machine.run(f"rmdir {small}")

        # Killed in such a cgroup, it leaves neither processes nor groups, its own leaf included.
        delegated = f"{ROOT_GROUP}/delegated"
        self.machine.run(enter.format(delegated, "max", WORKER, "sh -c \"setsid sleep 999 & sleep 999\"") + " & "
                         "until [ $(pidof sleep | wc -w) = 2 ]; do usleep 10000; done")  # fmt: skip
        self.machine.run("kill -9 $(cat /run/wrapper)")
        wait_until(lambda: not self.machine.try_run("pidof sleep ballast-keeper").out, PATIENCE_S, "all processes to be gone")
        self.check_nothing_is_left(delegated)
        self.machine.run(f"rmdir {delegated}")

        # A user to whom a cgroup was delegated needs no more.
        mine = f"{ROOT_GROUP}/user"
        self.machine.run("echo 'user:x:1000:1000::/:/bin/sh' >/etc/passwd; echo 'user:x:1000:' >/etc/group; chmod 644 /run/profile.yaml")
        self.machine.run(f"mkdir {mine}; cd {mine}; chown user . cgroup.procs cgroup.subtree_control cgroup.threads")
        inside = f"id -u; cat {ROOT_GROUP}$(cut -d: -f3 /proc/self/cgroup)/memory.max"
        run_in = f"exec {WORKER} --run-environment /run/profile.yaml -- "
        as_user = f"exec su user -c {shlex.quote(run_in + 'sh -c ' + shlex.quote(inside))}"
        result = self.machine.try_run(f"sh -c {shlex.quote(f'echo 0 >{mine}/cgroup.procs; {as_user}')} 2>&1")
        self.assertEqual((result.code, result.out.splitlines()[-2:]), (0, ["1000", "268435456"]), result.out)
        self.check_nothing_is_left(mine)
        # And without that right it is refused.
        result = self.machine.try_run(f"su user -c {shlex.quote(run_in + 'true')} 2>&1")
        self.assertEqual(result.code, REFUSED, result.out)
        self.assertIn("Permission denied", result.out)

    def test_exit_codes(self):
        self.boot(memory_mib=512)
        self.write_profile("name: 128mb\nmemory_bytes: 128MiB\n" + NO_SWAP)
        self.assertEqual(self.run_in("sh -c 'exit 42'").code, 42)
        self.assertEqual(self.run_in("sh -c 'kill -TERM $$'").code, 143)
        self.assertEqual(self.run_in("no-such-command").code, 127)
        self.assertEqual(self.run_in("/etc").code, 126)
        self.write_profile("name: 128mb\nmemory: 128MiB\n")
        result = self.run_in("true")
        self.assertEqual(result.code, 2, result.out)
        self.assertIn("/run/profile.yaml:2:1", result.out)


class EnvironmentJobTest(DeviceTest):
    def write_job(self, profile):
        path = self.path("job.yaml")
        with open(path, "w", encoding="utf-8") as job:
            job.write("workload: {pressure: {allocate_full: {until: OOM}, baseline: 0.5}}\nguard: {mode: OFF}\n"
                      f"environment_profile: {{{profile}}}\n")  # fmt: skip
        return path

    def carry_out(self, profile):
        job = self.submit("submit", self.write_job(profile))
        result = self.ballast("watch", job, "--output", "json", timeout_s=300)
        run = result.json["runs"][0]["run"]
        self.assertEqual(result.code, REFUSED if run["outcome"]["kind"] == "ENVIRONMENT_REFUSED" else 1, result.err)
        return run

    def test_a_run_ends_at_the_limit_of_its_environment(self):
        agent = self.start_device(memory_mib=1024)
        # What was not delegated to the worker it cannot limit.
        profile = "name: small, memory_bytes: 512MiB, swap: {kind: NONE}, cpus: 1"
        run = self.carry_out(profile)
        self.assertEqual(run["outcome"]["kind"], "ENVIRONMENT_REFUSED", run["outcome"])
        self.assertIn("'small' wants a limit of the cpu controller", run["outcome"]["message"])
        self.device.machine.run(f"echo +cpu >{ROOT_GROUP}/cgroup.subtree_control")
        run = self.carry_out(profile)
        evidence = run["outcome"]["evidence"]
        self.assertEqual((run["outcome"]["kind"], evidence["killer"]), ("OOM_KILLED", "KERNEL_MEMCG_OOM"), run["outcome"])
        result = run["attempts"][0]["result"]
        self.assertTrue(evidence["oom_cgroup"].startswith("/" + os.path.basename(GROUP) + "/ballast-env-"), evidence["oom_cgroup"])
        self.assertEqual(evidence["oom_cgroup"], result["environment"]["cgroup"])
        self.assertEqual(result["limit_bytes"], 512 * MIB)
        self.assertEqual(result["limit_source"], result["environment"]["cgroup"])
        self.assertEqual(result["environment"]["memory_bytes"], 512 * MIB)
        self.assertTrue([text for text in result["environment"]["readings"] if text.endswith("/cpu.max: 100000 100000")])
        self.wait_until_ready()
        self.assertEqual(self.device.worker_pid(), agent)
        self.assertEqual(self.device.machine.run(f"find {GROUP} -name 'ballast-env-*' -o -name 'ballast-run-*'"), "")
        # More than the device has.
        run = self.carry_out("name: large, memory_bytes: 4GiB, swap: {kind: NONE}")
        self.assertEqual(run["outcome"]["kind"], "ENVIRONMENT_REFUSED", run["outcome"])
        self.assertIn("'large' wants 4 GiB of memory, and the device has", run["outcome"]["message"])

    def test_a_kernel_without_the_memory_controller_refuses_the_run(self):
        self.start_device(memory_mib=512, kernel_arguments="cgroup_disable=memory")
        run = self.carry_out("name: small, memory_bytes: 256MiB, swap: {kind: NONE}")
        self.assertEqual(run["outcome"]["kind"], "ENVIRONMENT_REFUSED", run["outcome"])
        self.assertIn("without the memory controller", run["outcome"]["message"])


if __name__ == "__main__":
    unittest.main()
