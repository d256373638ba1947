"""The flight recorder: what a device knew is there again after its power was cut and after its agent was killed, once and to the last second."""

import unittest

from device import DATA, PATIENCE_S, DeviceTest, sample_times_s, wall_time_s
from fleet import query, wait_until

LONG = ("simple", "--mode", "staircase", "--step-size", "8", "--interval", "1", "--steps", "60", "--baseline", "0.5")
# A draft a second is on the disk; the rest is for writing it and for sampling.
LONGEST_LOSS_S = 1.5


class FlightRecorderTest(DeviceTest):
    def start_run(self, chunks):
        """Starts a long run and waits until as many of its chunks have reached the coordinator."""
        job = self.submit(*LONG)
        wait_until(lambda: len(self.chunks(job + ".1")) >= chunks, PATIENCE_S, f"{chunks} chunks of {job}")
        return job

    def chunks(self, run_id):
        return query(self.coordinator.database, "select attempt, seq from chunks where run_id = ? order by attempt, seq", run_id)

    def check_end(self, job, outcome, ended_at, error_s):
        """The run has one attempt with the outcome, evidence up to shortly before `ended_at`, and every record once."""
        report = self.watch(job, timeout_s=PATIENCE_S)
        (entry,) = report["runs"]
        run = entry["run"]
        self.assertEqual(run["outcome"]["kind"], outcome, run["outcome"])
        (attempt,) = run["attempts"]
        evidence = sample_times_s(attempt)
        loss = ended_at - evidence[-1]
        print(f"{outcome}: the last sample is {loss * 1000:.0f} ms before the end")
        self.assertLessEqual(loss, LONGEST_LOSS_S + error_s)
        self.assertGreater(loss, -error_s - 0.05)
        # Nothing twice, nothing left out: neither records nor samples.
        chunks = self.chunks(run["run_id"])
        self.assertEqual(chunks, [(1, seq) for seq in range(2, 2 + len(chunks))])
        offsets = entry["samples"]["offset_ms"]
        self.assertEqual(offsets, sorted(set(offsets)))
        start = wall_time_s(attempt["start_time"])
        self.assertAlmostEqual(start + offsets[-1] / 1000, evidence[-1], delta=0.01)
        longest = max(later - earlier for earlier, later in zip(offsets, offsets[1:]))
        self.assertLess(longest, 1000, "samples are taken all along")
        # The device has handed over everything, and goes on.
        self.wait_until_ready()
        wait_until(lambda: not self.device.machine.run(f"ls {DATA}/spool"), PATIENCE_S, "an empty spool")
        next_run, _ = self.simple("--mode", "staircase", "--step-size", "8", "--steps", "2", "--interval", "0.2")
        self.assertEqual(next_run["outcome"]["kind"], "COMPLETED", next_run["outcome"])
        return attempt["result"]["outcome"]["evidence"]

    def cut_power(self):
        """Cuts the device's power; returns when, by the device's wall clock, and by how much that may be wrong."""
        offset, error = self.device.machine.clock_offset_s()
        return self.device.machine.cut_power() + offset, error

    def test_power_cut(self):
        self.start_device(memory_mib=1024)
        job = self.start_run(chunks=1)
        ended_at, error = self.cut_power()
        self.wait_for_device(self.device.device_id, ("OFFLINE",), timeout_s=PATIENCE_S)
        self.device.machine.boot()
        self.device.start_worker()
        evidence = self.check_end(job, "DEVICE_REBOOTED", ended_at, error)
        self.assertNotEqual(evidence["start_boot_id"], evidence["end_boot_id"])

    def test_power_cut_with_a_torn_record(self):
        """The coordinator is away, so that the records are on the device alone, and the write of another one was cut short."""
        self.start_device(memory_mib=1024)
        job = self.start_run(chunks=1)
        self.coordinator.kill()
        attempt = f"{DATA}/spool/{job}.1@1"
        machine = self.device.machine
        segments = f"ls {attempt}/*.seg | sort"
        size = int(machine.run(f"wc -c <$({segments} | tail -n 1)"))
        wait_until(lambda: int(machine.run(f"wc -c <$({segments} | tail -n 1)")) > size, PATIENCE_S, "another chunk in the spool")
        ended_at, error = self.cut_power()
        machine.boot()
        # The beginning of a record whose end is missing.
        machine.run(f"last=$({segments} | tail -n 1); head -c 100 $last >/run/torn; cat /run/torn >>$last; sync")
        self.coordinator = self.start_coordinator(listen=self.address)
        self.device.start_worker()
        self.check_end(job, "DEVICE_REBOOTED", ended_at, error)
        self.assertIn("cut off", self.device.worker_log())

    def test_kill_of_the_agent(self):
        agent = self.start_device(memory_mib=1024)
        job = self.start_run(chunks=1)
        machine = self.device.machine
        ended_at = machine.run_timed(f"kill -9 {agent}")
        wait_until(lambda: not machine.try_run("pidof ballast-worker ballast-runner").out, PATIENCE_S, "the runner to go with its agent")
        self.device.start_worker()
        self.check_end(job, "WORKER_CRASHED", ended_at, error_s=0.05)


if __name__ == "__main__":
    unittest.main()
