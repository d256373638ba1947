"""The device's clock is set in mid-run, forwards and back: the run does not notice, its figures are right, and it says that the clock jumped."""

import unittest

from device import DATA, PATIENCE_S, DeviceTest
from fleet import wait_until
from fleet_check import FleetCheck

DAY_S = 86400
STEPS = 12


class ClockTest(DeviceTest):
    def set_clock(self, by_s):
        """Sets the device's wall clock by so many seconds."""
        self.device.machine.run(f"date -s @$(( $(date +%s) + ({by_s}) ))")

    def test_set_in_mid_run(self):
        self.start_device(memory_mib=1024)
        job = self.submit("simple", "--mode", "staircase", "--step-size", "4", "--interval", "1", "--steps", str(STEPS), "--baseline", "0.5")
        self.wait_for_run(job + ".1", "RUNNING", PATIENCE_S)
        for by_s in (DAY_S, -2 * DAY_S):
            held = self.ballast("runs", "show", job + ".1", "--output", "json").json
            self.assertEqual(held["state"], "RUNNING")
            self.set_clock(by_s)
            # A step later at least.
            uptime = float(self.device.machine.run("cut -d ' ' -f 1 /proc/uptime"))
            wait_until(lambda: float(self.device.machine.run("cut -d ' ' -f 1 /proc/uptime")) > uptime + 1.5, PATIENCE_S, "a step")
        (entry,) = self.watch(job, timeout_s=PATIENCE_S)["runs"]
        run = entry["run"]
        self.assertEqual((run["outcome"]["kind"], len(run["attempts"])), ("COMPLETED", 1), run["outcome"])
        # Every offset is by a clock that nobody sets.
        result = run["attempts"][0]["result"]
        steps = [step["offset_seconds"] for step in result["steps"]]
        self.assertEqual(len(steps), STEPS)
        for earlier, later in zip(steps, steps[1:]):
            self.assertAlmostEqual(later - earlier, 1, delta=0.5)
        offsets = entry["samples"]["offset_ms"]
        self.assertEqual(offsets, sorted(set(offsets)))
        self.assertLess(offsets[-1], 60_000)
        remarks = {remark["kind"]: remark for remark in result["validity"]["remarks"]}
        self.assertIn("CLOCK_JUMP", remarks)
        print(remarks["CLOCK_JUMP"]["message"])
        # The fleet goes on with the clock as it is, which is a day behind.
        self.wait_until_ready()
        wait_until(lambda: not self.device.machine.run(f"ls {DATA}/spool"), PATIENCE_S, "an empty spool")
        next_run, _ = self.simple("--mode", "staircase", "--step-size", "4", "--steps", "2", "--interval", "0.2")
        self.assertEqual(next_run["outcome"]["kind"], "COMPLETED", next_run["outcome"])
        self.assertEqual(FleetCheck(self.coordinator.database, []).check(), [])


if __name__ == "__main__":
    unittest.main()
