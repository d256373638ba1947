"""The kernel's OOM killer on a device with 2 GB and no swap: the runner goes, the agent stays."""

import unittest

from device import DeviceTest


class GlobalOomTest(DeviceTest):
    def test_allocate_full_until_oom(self):
        agent = self.start_device(memory_mib=2048)
        result = self.ballast("simple", "--mode", "allocate_full", "--until", "oom", "--expect", "OOM_KILLED",
                              "--output", "json", timeout_s=300)  # fmt: skip
        self.assertEqual(result.code, 0, result.err)
        (run,) = result.json["runs"]
        evidence = run["run"]["outcome"]["evidence"]
        self.assertEqual(evidence["killer"], "KERNEL_GLOBAL_OOM")
        self.assertEqual(self.device.worker_pid(), agent)
        self.wait_for_device(self.device.device_id, ("READY",), timeout_s=60)


if __name__ == "__main__":
    unittest.main()
