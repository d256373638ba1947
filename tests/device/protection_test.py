"""How the agent protects itself, and keeps its runner apart, where it has every right to."""

import unittest

from device import GROUP, PATIENCE_S, DeviceTest
from fleet import wait_until

SLOW = ("simple", "--mode", "staircase", "--step-size", "16", "--steps", "1", "--interval", "600", "--baseline", "0", "--recovery", "0")


class ProtectionTest(DeviceTest):
    def read(self, path):
        return self.device.machine.run(f"cat {path}")

    def runner_pid(self):
        return wait_until(lambda: self.device.machine.try_run("pidof ballast-runner").out.strip(), PATIENCE_S, "a runner")

    def test_agent_and_runner(self):
        agent = self.start_device(memory_mib=1024)
        device = self.ballast("devices", "show", self.device.device_id, "--output", "json").json
        facts = device["facts"]
        # Of what protects it nothing is missing; a runtime for models is another matter.
        self.assertEqual([text for text in facts["limitations"] if not text.startswith("llama.cpp ")], [])
        self.assertEqual(facts["runner_isolation"], "CGROUP_V2")
        self.assertEqual(facts["cgroup_version"], 2)
        self.assertLessEqual({"PSI", "OOM_SCORE_PROTECTED", "KERNEL_LOG", "MEMORY_CGROUP"}, set(facts["capabilities"]))
        self.assertEqual(self.read(f"/proc/{agent}/oom_score_adj"), "-1000")
        # It locks itself once what only its start needed is gone.
        wait_until(lambda: self.device.machine.try_run(f"grep VmLck /proc/{agent}/status | grep -v ' 0 kB'").out, PATIENCE_S, "locked memory")
        own = "/sys/fs/cgroup" + self.read(f"/proc/{agent}/cgroup").removeprefix("0::")
        self.assertGreaterEqual(int(self.read(f"{own}/memory.min")), 32 << 20)

        job = self.submit(*SLOW)
        runner = self.runner_pid()
        self.assertEqual(self.read(f"/proc/{runner}/oom_score_adj"), "1000")
        group = "/sys/fs/cgroup" + self.read(f"/proc/{runner}/cgroup").removeprefix("0::")
        self.assertTrue(group.startswith(GROUP + "/ballast-run-"), group)
        self.assertEqual(self.read(f"{group}/memory.oom.group"), "1")
        # The thread that samples goes before everything that has no priority of its own.
        nice = self.device.machine.run(f"cut -d' ' -f19 /proc/{agent}/task/*/stat | sort -n | head -n 1")
        self.assertLess(int(nice), 0)

        # What the runner started goes with it, although it has left its process group, when the agent is killed.
        machine = self.device.machine
        machine.run(f"setsid sleep 600 >/dev/null 2>&1 & echo $! >{group}/cgroup.procs; kill -9 {agent}")
        wait_until(lambda: not machine.try_run("pidof ballast-runner sleep ballast-keeper").out.strip(), PATIENCE_S, "everything to be gone")
        self.device.start_worker()
        run = self.watch(job, timeout_s=PATIENCE_S)["runs"][0]["run"]
        self.assertEqual(run["outcome"]["kind"], "WORKER_CRASHED")
        self.wait_until_ready()
        self.assertEqual(machine.run(f"find {GROUP} -name 'ballast-run-*'"), "")


if __name__ == "__main__":
    unittest.main()
