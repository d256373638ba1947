"""A stall that is held: tasks of a device wait for memory for a fifth of the time, for a minute."""

import unittest

from device import DeviceTest


class StallTest(DeviceTest):
    def holds_some_20(self, *flags, memory_mib=2048, least_held_mib=1024, within=5, **machine):
        self.start_device(memory_mib=memory_mib, **machine)
        result = self.ballast("simple", "--mode", "burst", "--psi", "some=20", "--duration", "70s", *flags, "--output", "json",
                              timeout_s=600)  # fmt: skip
        self.assertEqual(result.code, 0, result.err)
        (run,) = result.json["runs"]
        (attempt,) = run["run"]["attempts"]
        self.print_course(run["samples"])
        (hold,) = (phase for phase in attempt["result"]["phases"] if phase["kind"] == "HOLD")
        quality = hold["hold_quality"]
        stall = quality["stall"]
        print(f"avg10 from {stall['min_percent']} to {stall['max_percent']} %, {stall['mean_percent']:.1f} % in the mean, with "
              f"{quality['mean_held_bytes'] >> 20} MiB held")  # fmt: skip
        # The kernel's own figure over a minute: the first ten seconds of the hold do not count.
        self.assertGreater(stall["sample_count"], 300)
        self.assertGreaterEqual(stall["min_percent"], 20 - within)
        self.assertLessEqual(stall["max_percent"], 20 + within)
        self.assertGreater(quality["min_held_bytes"], least_held_mib << 20)

    @staticmethod
    def print_course(samples):
        """What the loop did, every other second: without it a failure says nothing."""
        columns = {column["metric"]: column["values"] for column in samples["columns"]}
        print("seconds, stall of the last two and avg10 in percent, held, available and free swap in MiB:")
        before, stalled_before = None, None
        for i, offset in enumerate(samples["offset_ms"]):
            if before is not None and offset < before + 2000:
                continue
            stalled = columns["psi_memory_some_us_total"][i]
            share = "" if before is None else f"{(stalled - stalled_before) / 10 / (offset - before):.1f}"
            before, stalled_before = offset, stalled
            mib = (int(columns[name][i] or 0) >> 20 for name in ("runner_held_bytes", "mem_available_bytes", "swap_free_bytes"))
            print(f"{offset / 1000:6.1f} {share:>6} {columns['psi_memory_some_avg10'][i]:6.1f}", *(f"{value:6}" for value in mib))

    def test_with_swap_on_a_disk(self):
        self.holds_some_20("--content", "compressible:3", swap_mib=1024)

    def test_with_zram(self):
        self.holds_some_20("--content", "compressible:3", zram_mib=1024)

    def test_without_swap_on_file_pages(self):
        # Which pages the kernel drops changes all the time, and with it what a megabyte does.
        self.holds_some_20("--kind", "file_cache", memory_mib=1024, disk_mib=3072, least_held_mib=512, within=10)


if __name__ == "__main__":
    unittest.main()
