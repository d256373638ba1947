"""The kernel's OOM killer: the runner goes, the agent stays, and the evidence reaches up to the kill."""

import re
import unittest

from device import GROUP, DeviceTest, sample_times_s
from machine import MIB, kernel_log_time_s

UNTIL_OOM = ("--mode", "allocate_full", "--until", "oom", "--baseline", "0.5")
NAME = "/" + GROUP.rsplit("/", 1)[1]
# Samples are taken ten times a second.
LONGEST_GAP_S = 0.2


class OomTest(DeviceTest):
    def check_evidence(self, run, killer):
        """The right killer is named, and the last sample before the kill is fresh. Returns the seconds between the two."""
        self.assertEqual(run["outcome"]["kind"], "OOM_KILLED", run["outcome"])
        (attempt,) = run["attempts"]
        evidence = attempt["result"]["outcome"]["evidence"]
        self.assertEqual(evidence["killer"], killer)
        self.assertEqual(evidence["signal"], 9)
        victim = re.search(r"Killed process \d+ \(ballast-runner\)", "\n".join(evidence["kernel_log"])).group()
        machine = self.device.machine
        offset, error = machine.kernel_log_offset_s()
        self.assertLess(error, 0.1)
        # Of a cgroup whose processes go together the kernel names the victim twice.
        line = next(line for line in machine.kernel_log().splitlines() if victim in line)
        killed_at = kernel_log_time_s(line) + offset
        gap = killed_at - max(time for time in sample_times_s(attempt) if time <= killed_at + error)
        self.assertLessEqual(gap, LONGEST_GAP_S + error)
        return gap

    def check_that_all_goes_on(self, agent):
        """The same agent takes the next job, and nothing of the last one is left."""
        self.wait_until_ready()
        self.assertEqual(self.device.worker_pid(), agent)
        run, _ = self.simple("--mode", "staircase", "--step-size", "8", "--steps", "2", "--interval", "0.2")
        self.assertEqual(run["outcome"]["kind"], "COMPLETED", run["outcome"])


class GlobalOomTest(OomTest):
    def test_ten_times_in_one_boot(self):
        agent = self.start_device(memory_mib=2048)
        gaps = []
        for _ in range(10):
            run, _ = self.simple(*UNTIL_OOM)
            gaps.append(self.check_evidence(run, "KERNEL_GLOBAL_OOM"))
            self.wait_until_ready()
            self.assertEqual(self.device.worker_pid(), agent)
        print("last sample before the kill, ms:", [round(gap * 1000) for gap in gaps])
        self.check_that_all_goes_on(agent)


class MemcgOomTest(OomTest):
    def test_at_the_limit_of_the_worker_s_cgroup(self):
        agent = self.start_device(memory_mib=1024, limit_mib=512)
        run, _ = self.simple(*UNTIL_OOM)
        self.check_evidence(run, "KERNEL_MEMCG_OOM")
        self.assertEqual(run["outcome"]["evidence"]["oom_cgroup"], NAME)
        result = run["attempts"][0]["result"]
        self.assertEqual(result["limit_bytes"], 512 * MIB)
        self.assertEqual(result["limit_source"], NAME)
        self.check_that_all_goes_on(agent)


class VerdictTest(OomTest):
    def test_by_the_counters_alone(self):
        agent = self.start_device(memory_mib=1024, without_kernel_log=True)
        facts = self.ballast("devices", "show", self.device.device_id, "--output", "json").json["facts"]
        self.assertEqual(facts["runner_isolation"], "CGROUP_V2")
        self.assertNotIn("KERNEL_LOG", facts["capabilities"])
        self.assertFalse([text for text in facts["limitations"] if "cgroup" in text or "MiB" in text], "all is as it should be")
        self.check(self.simple(*UNTIL_OOM)[0], "KERNEL_GLOBAL_OOM", "none made the kernel look for a victim", "")
        self.wait_until_ready()
        self.device.machine.run(f"echo {512 * MIB} >{GROUP}/memory.max")
        self.check(self.simple(*UNTIL_OOM)[0], "KERNEL_MEMCG_OOM", f"that of {NAME} made the kernel look for a victim", NAME)
        self.check_that_all_goes_on(agent)
        left = self.device.machine.run(f"find {GROUP} -mindepth 1 -type d").splitlines()
        self.assertEqual(len(left), 1, f"the agent's own alone: {left}")

    def check(self, run, killer, finding, cgroup):
        evidence = run["outcome"]["evidence"]
        self.assertEqual((run["outcome"]["kind"], evidence["killer"]), ("OOM_KILLED", killer), run["outcome"])
        self.assertEqual(evidence["oom_cgroup"], cgroup)
        self.assertTrue([text for text in evidence["findings"] if finding in text], evidence["findings"])
        self.assertIn("kernel log: not readable here", evidence["findings"])


if __name__ == "__main__":
    unittest.main()
