"""A device with 4 GB and 1 GB of swap that thrashes: it survives without the guard, and the guard spares it that.

Memory in use by itself makes no device thrash, however high: the kernel counts what it needs to stay calm as not available. What does is a
load that leaves too little for what else the device works with. That is here a program that reads the same 700 MB of files again and again.
"""

import unittest

from device import DeviceTest
from fleet import MIB, wait_until

WORKING_SET_MIB = 700
# Half of what is held is touched, not so often that the kernel would take nothing of it.
BURST = ("--mode", "burst", "--target", "90", "--hot", "50%", "--hot-interval", "20s", "--baseline", "0", "--recovery", "0")


def column(report, metric):
    (entry,) = [entry for entry in report["runs"][0]["samples"]["columns"] if entry["metric"] == metric]
    return [value for value in entry["values"] if value is not None]


def rise(report, metric):
    values = column(report, metric)
    return values[-1] - values[0]


class ThrashTest(DeviceTest):
    def setUp(self):
        super().setUp()
        self.agent = self.start_device(memory_mib=4096, swap_mib=1024)
        self.device.machine.run(f"dd if=/dev/zero of=/var/working_set bs=1M count={WORKING_SET_MIB} 2>&1")

    def run_beside_a_program(self, *flags):
        """Starts a run, lets a program work beside it once the target is reached, and returns the run's report."""
        job = self.submit("simple", *BURST, *flags)
        machine = self.device.machine
        target_reached = "awk '/MemTotal/ { t = $2 } /MemAvailable/ { a = $2 } END { exit a > 0.105 * t }' /proc/meminfo"
        wait_until(lambda: machine.try_run(target_reached).code == 0, 600, "the target to be reached")
        machine.run("(while [ ! -e /run/stop ]; do cat /var/working_set; done) >/dev/null 2>&1 </dev/null &")
        report = self.watch(job, timeout_s=600)
        machine.run("touch /run/stop")
        return report["runs"][0]["run"], report

    def check_that_it_responds(self):
        self.wait_until_ready()
        self.assertEqual(self.device.worker_pid(), self.agent)
        run, _ = self.simple("--mode", "staircase", "--step-size", "8", "--steps", "2", "--interval", "0.2", "--until", "oom")
        self.assertEqual(run["outcome"]["kind"], "COMPLETED", run["outcome"])

    def test_without_the_guard(self):
        run, report = self.run_beside_a_program("--duration", "40", "--until", "oom")
        self.assertEqual(run["outcome"]["kind"], "COMPLETED", run["outcome"])
        full = max(column(report, "psi_memory_full_avg10"))
        swapped_in = rise(report, "vm_pswpin_total")
        refaults = rise(report, "vm_workingset_refault_file_total") * 4096 // MIB
        print(f"without the guard: PSI full avg10 up to {full:.1f} %, {swapped_in:.0f} pages swapped in, {refaults:.0f} MiB of files "
              f"read again; {run['attempts'][-1]['result']['missed_sample_count']} samples missed")  # fmt: skip
        self.assertGreater(full, 10)
        self.assertGreater(swapped_in, 1000)
        self.check_that_it_responds()

    def test_with_the_guard(self):
        run, _ = self.run_beside_a_program("--duration", "300")
        self.assertEqual(run["outcome"]["kind"], "GUARD_STOPPED", run["outcome"])
        acts = run["attempts"][-1]["result"]["guard_acts"]
        print("with the guard:", run["outcome"]["message"], acts)
        self.assertTrue([act for act in acts if act["action"] == "RELEASE_ASKED" and act["value"] > act["threshold"]], acts)
        self.check_that_it_responds()


if __name__ == "__main__":
    unittest.main()
