"""The four modes of pressure as a user runs them, on real memory."""

import os
import unittest

from fleet import MIB, FleetTest, LimitedGroup, children_of, process_exists


def only_run(report):
    assert len(report["runs"]) == 1, report["runs"]
    return report["runs"][0]["run"]


def column(report, metric):
    samples = report["runs"][0]["samples"]
    for entry in samples["columns"]:
        if entry["metric"] == metric:
            return list(zip(samples["offset_ms"], entry["values"]))
    raise AssertionError(f"no samples of {metric}")


def phase(run, kind):
    return next(phase for phase in run["attempts"][-1]["result"]["phases"] if phase["kind"] == kind)


class LocalPressureTest(FleetTest):
    """One command on the local machine, with nothing set up."""

    def test_staircase_steps_are_exact_and_nothing_is_left(self):
        os.mkdir(self.path("tmp"))
        result = self.ballast(
            "simple", "--mode", "staircase", "--step-size", "100", "--interval", "1.0", "--steps", "5",
            "--output", "json", local=True, environment={"TMPDIR": self.path("tmp"), "XDG_RUNTIME_DIR": self.path("tmp")},
        )  # fmt: skip
        self.assertEqual(result.code, 0, result.err)
        run = only_run(result.json)
        self.assertEqual(run["outcome"]["kind"], "COMPLETED")
        steps = run["attempts"][0]["result"]["steps"]
        self.assertEqual([step["index"] for step in steps], [1, 2, 3, 4, 5])
        for step in steps:
            self.assertAlmostEqual(step["resident_delta_bytes"], 100 * MIB, delta=MIB)
        # The agent's own view of the runner from outside agrees, beyond what the runner was before the first step.
        own = steps[0]["resident_bytes"] - steps[0]["resident_delta_bytes"]
        highest = max(value for _, value in column(result.json, "runner_resident_bytes") if value is not None)
        self.assertAlmostEqual(highest - own, 500 * MIB, delta=8 * MIB)
        # The whole fleet was private to the command.
        self.assertEqual([pid for pid in children_of(os.getpid()) if process_exists(pid)], [])
        self.assertEqual(os.listdir(self.path("tmp")), [])
        left = [name for _, _, names in os.walk(self.path("data")) for name in names if ".spool" in name or ".sock" in name]
        self.assertEqual(left, [])

    def test_burst_holds_its_target(self):
        gauge = self.ballast("simple", "--mode", "staircase", "--step-size", "1", "--steps", "1", "--interval", "0.1",
                             "--baseline", "0.3", "--recovery", "0", "--output", "json", local=True)  # fmt: skip
        self.assertEqual(gauge.code, 0, gauge.err)
        used = [value for _, value in column(gauge.json, "mem_used_percent") if value is not None]
        limit = gauge.json["runs"][0]["run"]["attempts"][0]["result"]["limit_bytes"]
        target = round(max(used) + min(5.0, 100.0 * (1 << 30) / limit), 1)
        result = self.ballast("simple", "--mode", "burst", "--target", str(target), "--duration", "3",
                              "--output", "json", local=True)  # fmt: skip
        self.assertEqual(result.code, 0, result.err)
        run = only_run(result.json)
        hold = phase(run, "HOLD")
        start, end = hold["start_offset_seconds"] * 1000, hold["end_offset_seconds"] * 1000
        self.assertAlmostEqual((end - start) / 1000, 3, delta=0.3)
        inside = [v for offset, v in column(result.json, "mem_used_percent") if start <= offset <= end and v is not None]
        near = [value for value in inside if abs(value - target) <= 1]
        self.assertGreater(len(inside), 20)
        self.assertGreaterEqual(len(near) / len(inside), 0.9, f"target {target}, samples {inside}")


class LimitedPressureTest(FleetTest):
    """Inside a memory cgroup of 512 MiB, where every percentage refers to the group's limit."""

    LIMIT = 512 * MIB

    def setUp(self):
        super().setUp()
        try:
            self.group = LimitedGroup(self.LIMIT)
        except OSError as error:
            self.skipTest(f"cannot make a limited memory cgroup here: {error}")
        self.addCleanup(self.group.remove)
        self.start_coordinator()
        self.worker = self.start_worker("limited", preexec_fn=self.group.join)

    def run_job(self, *flags):
        result = self.ballast("simple", *flags, "--output", "json")
        self.assertIn(result.code, (0, 1), result.err)
        self.assertTrue(process_exists(self.worker.pid), self.worker.log())
        self.assertEqual(children_of(self.worker.pid), [])
        return result.json

    def test_sawtooth(self):
        report = self.run_job("--mode", "sawtooth", "--min", "30", "--max", "70", "--cycles", "3", "--duration", "2")
        run = only_run(report)
        result = run["attempts"][0]["result"]
        self.assertEqual(run["outcome"]["kind"], "COMPLETED", run["outcome"])
        self.assertEqual(result["limit_bytes"], self.LIMIT)
        cycles = [event for event in report["runs"][0]["events"] if event["kind"] == "CYCLE_COMPLETED"]
        self.assertEqual([event["value"] for event in cycles], [1, 2, 3])
        used = [value for _, value in column(report, "mem_used_percent") if value is not None]
        self.assertAlmostEqual(max(used), 70, delta=2)
        self.assertEqual(self.group.oom_kills(), 0)

    def test_allocate_full_stops_at_the_floor(self):
        run = only_run(self.run_job("--mode", "allocate_full", "--floor", "10%"))
        result = run["attempts"][0]["result"]
        self.assertEqual(run["outcome"]["kind"], "COMPLETED", run["outcome"])
        self.assertGreater(result["peak_held_bytes"], 0.75 * self.LIMIT)
        self.assertLess(result["peak_held_bytes"], 0.9 * self.LIMIT)
        self.assertEqual(self.group.oom_kills(), 0)

    def test_allocate_full_until_oom_kills_the_runner_alone(self):
        run = only_run(self.run_job("--mode", "allocate_full", "--until", "oom"))
        evidence = run["outcome"]["evidence"]
        self.assertEqual(run["outcome"]["kind"], "OOM_KILLED", run["outcome"])
        self.assertEqual(evidence["killer"], "KERNEL_MEMCG_OOM")
        self.assertEqual(evidence["signal"], 9)
        self.assertGreaterEqual(evidence["cgroup_oom_kill_count"], 1)
        # What is left is the programs themselves, which are large under a sanitizer.
        self.assertGreater(evidence["held_bytes"], 0.7 * self.LIMIT)
        # The same agent does the next job.
        next_run = only_run(self.run_job("--mode", "staircase", "--step-size", "10", "--steps", "2", "--interval", "0.1"))
        self.assertEqual(next_run["outcome"]["kind"], "COMPLETED")


if __name__ == "__main__":
    unittest.main()
