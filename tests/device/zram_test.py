"""What compressed memory makes of the runner's pages: content with an asked ratio has that ratio on a real zram."""

import unittest

from device import GROUP, PATIENCE_S, DeviceTest
from fleet import wait_until
from machine import MIB

HELD = 400 * MIB
RECLAIMED = 200 * MIB


class ZramTest(DeviceTest):
    def shrinks_to(self, content):
        """Which part of its size pages with such content have in zram."""
        job = self.submit("simple", "--mode", "staircase", "--step-size", str(HELD // MIB), "--steps", "1", "--interval", "600",
                          "--baseline", "0", "--recovery", "0", "--content", content)  # fmt: skip
        machine = self.device.machine
        wait_until(lambda: int(machine.run(f"cat {GROUP}/memory.current")) >= HELD, PATIENCE_S, "the step to be held")
        # The kernel takes what has not been used for longest, which is the runner's: the agent's pages are locked.
        machine.try_run(f"echo {RECLAIMED} >{GROUP}/memory.reclaim")
        original, compressed = (int(word) for word in machine.run("cat /sys/block/zram0/mm_stat").split()[:2])
        self.assertGreater(original, RECLAIMED // 2, "too little went to zram to measure")
        self.assertEqual(self.ballast("jobs", "cancel", job).code, 0)
        self.watch(job, timeout_s=PATIENCE_S)
        self.wait_until_ready()
        return compressed / original

    def test_ratio_of_the_content(self):
        self.start_device(memory_mib=1024, zram_mib=512)
        for content, asked in (("compressible:2", 0.5), ("compressible:4", 0.25), ("random", 1.0)):
            measured = self.shrinks_to(content)
            print(f"{content}: zram makes it {measured:.3f} of its size")
            self.assertAlmostEqual(measured, asked, delta=0.15 * asked)


if __name__ == "__main__":
    unittest.main()
