"""Jobs with models as a user runs them: loads under pressure, levels side by side, soaks, and what a limit does to each way of loading.

Small and short; BALLAST_TEST_LIMITED_MODEL=qwen2.5-3b:Q4_K_M BALLAST_TEST_LIMIT_MIB=1024 and BALLAST_TEST_SOAK_SECONDS=180 are nearer to life.
"""

import csv
import json
import os
import re
import unittest

from fleet import MIB, FleetTest, LimitedGroup, children_of, process_exists, wait_until

# What is loaded under the limit, and the limit: the model is nearly twice as large.
LIMITED_MODEL, LIMITED_LEVEL = os.environ.get("BALLAST_TEST_LIMITED_MODEL", "qwen2.5-0.5b:Q8_0").split(":")
LIMIT = int(os.environ.get("BALLAST_TEST_LIMIT_MIB", "288")) * MIB

# Whatever else this machine does meanwhile: what is looked at here is no figure of time.
COUNT_ALL = "--include-invalid"


def run_results(report):
    """(run, its last attempt's result) of each run."""
    return [(entry["run"], entry["run"]["attempts"][-1]["result"]) for entry in report["runs"]]


def phases(result, kind):
    return [phase for phase in result["phases"] if phase["kind"] == kind]


def stage(load, kind):
    return next((entry for entry in load["stages"] if entry["kind"] == kind), None)


class ModelJobsTest(FleetTest):
    """A coordinator with two workers; the model is tiny."""

    def setUp(self):
        super().setUp()
        self.start_coordinator()
        for name in ("a", "b"):
            self.start_worker(name, "class=test")

    def run_job(self, *arguments, timeout_s=120):
        """Runs a job to its end and returns its report as JSON, the rows of its loads, and what standard error had."""
        directory = self.path("out")
        result = self.ballast(*arguments, "--all", COUNT_ALL, "--save-report", "--output-dir", directory, timeout_s=timeout_s)
        self.assertEqual(result.code, 0, result.err)
        stem = next(name[:-5] for name in os.listdir(directory) if name.endswith(".json"))
        with open(os.path.join(directory, stem + ".json"), encoding="utf-8") as file:
            report = json.load(file)
        with open(os.path.join(directory, stem + "-loads.csv"), encoding="utf-8-sig", newline="") as file:
            loads = list(csv.DictReader(file))
        return report, loads, result

    def test_a_load_comes_on_top_of_the_pressure(self):
        target = self.busy_percent() + 2
        report, rows, shown = self.run_job("model", "--model-id", "tiny", "--mode", "burst", "--target", f"{target:.1f}",
                                           "--duration", "1", "--repeat", "2", "--test-duration", "0.5")  # fmt: skip
        self.assertEqual(len(rows), 4)
        checksums = set()
        for run, result in run_results(report):
            self.assertEqual(run["outcome"]["kind"], "COMPLETED", run["outcome"])
            self.assertEqual([load["repetition"] for load in result["loads"]], [1, 2])
            hold = phases(result, "HOLD")[0]
            for load in result["loads"]:
                self.assertEqual(load["outcome"]["kind"], "COMPLETED", load["outcome"])
                self.assertEqual([entry["kind"] for entry in load["stages"]], ["PARSE", "LOAD", "FIRST_PASS", "PASSES"])
                self.assertEqual(load["found_cache"], "COLD")
                self.assertGreater(load["estimate"]["resident_bytes"], load["weight_bytes"])
                self.assertGreaterEqual(load["start_offset_seconds"], hold["start_offset_seconds"])
                self.assertLessEqual(load["end_offset_seconds"], hold["end_offset_seconds"])
                checksums.add(load["checksum"])
            self.assertEqual(result["loads"][1]["file_source"], "created")
        self.assertEqual(len(checksums), 1, "the same weights on every device, each time")
        # Two processes, two sets of figures.
        columns = {entry["metric"]: entry["values"] for entry in report["runs"][0]["samples"]["columns"]}
        for metric in ("runner_resident_bytes", "load_resident_bytes"):
            self.assertTrue(any(value for value in columns[metric]), metric)
        self.assertIn("tiny: mmap, built-in loader, cold, beside burst", shown.out)

    def busy_percent(self):
        """What is in use already, beside everything else that runs here."""
        gauge = self.ballast("simple", "--mode", "staircase", "--step-size", "1", "--steps", "1", "--interval", "0.1",
                             "--baseline", "0.3", "--recovery", "0", "--device", "a", "--output", "json")  # fmt: skip
        self.assertEqual(gauge.code, 0, gauge.err)
        columns = {entry["metric"]: entry["values"] for entry in gauge.json["runs"][0]["samples"]["columns"]}
        return max(value for value in columns["mem_used_percent"] if value is not None)

    def test_levels_side_by_side_and_the_advice_that_follows(self):
        levels = ["Q2_K", "Q4_K_M", "Q6_K"]
        before = self.ballast("models", "advise", "--model-id", "tiny", "--output", "json").json
        self.assertEqual((before["current_optimal"], before["estimated"]), ("F16", True))

        report, rows, shown = self.run_job("quantization", "--model-id", "tiny", "--quant-levels", ",".join(levels), "--repeat", "3",
                                             "--test-duration", "0.4")  # long enough to be seen at work  # fmt: skip
        self.assertEqual(len(rows), 18)
        orders = []
        for run, result in run_results(report):
            self.assertEqual(run["outcome"]["kind"], "COMPLETED", run["outcome"])
            order = [load["quant"] for load in result["loads"]]
            for first in range(0, 9, 3):
                self.assertEqual(sorted(order[first : first + 3]), levels, "each level has its turn in each round")
            orders.append(order)
        self.assertEqual(orders[0], orders[1], "the same seed, the same order")
        comparison = report["models"][0]
        self.assertEqual([(level["quant"], level["survived_count"], level["load_count"]) for level in comparison["levels"]],
                         [(level, 6, 6) for level in levels])  # fmt: skip
        self.assertEqual(sorted({row["quant"] for row in rows}), levels)
        advice = report["models"][0]["advice"]
        self.assertEqual((advice["current_optimal"], advice["estimated"]), ("Q6_K", False))
        self.assertRegex(shown.out, r"(?m)^Q4_K_M +all +6 of 6 ")
        self.assertIn("advice: Q6_K is the best level that fits on 2 of 2 devices", shown.out)
        self.assertIn("rank goes by survival, then speed", shown.out)
        self.assertRegex(shown.err, r"load \d of 9 at ")

        # By the history: what was measured is what the report says, and what was not is estimated.
        job_id = report["runs"][0]["run"]["job_id"]
        asked = ("models", "advise", "--model-id", "tiny", "--on", "class=test", COUNT_ALL, "--output", "json")
        after = self.ballast(*asked).json
        self.assertEqual((after["current_optimal"], after["estimated"], after["device_count"]), ("F16", True, 2))
        verdicts = {level["quant"]: [device["estimated"] for device in level["devices"]] for level in after["levels"]}
        self.assertEqual([verdicts[level] for level in levels + ["F16"]], [[False, False]] * 3 + [[True, True]])
        limited = self.ballast(*asked, "--max-load", "30s", "--job", job_id).json
        self.assertEqual((limited["current_optimal"], limited["estimated"]), ("Q6_K", False), "an estimate meets no limit of time")
        never = self.ballast("models", "advise", "--model-id", "tiny", "--max-load", "1us", COUNT_ALL)
        self.assertEqual(never.code, 0, never.err)
        self.assertIn("advice: none: ", never.out)
        for arguments, code, hint in (
            (("--model-id", "tinny"), 4, "'tiny'"),
            (("--model-id", "tiny", "--device", "c"), 4, "no device c"),
            (("--model-id", "tiny", "--job", "j-none"), 4, "j-none"),
            (("--model-id", "tiny", "--devices", "101%"), 2, "--devices"),
        ):
            refused = self.ballast("models", "advise", *arguments)
            self.assertEqual(refused.code, code, refused.err)
            self.assertIn(hint, refused.err)

    def test_a_runtime_that_is_not_installed(self):
        result = self.ballast("model", "--model-id", "tiny", "--runtime", "llama.cpp", "--device", "a", "--output", "json",
                              environment={"PATH": "/nowhere"})  # fmt: skip
        self.assertEqual(result.code, 1, result.err)
        run, attempt = run_results(result.json)[0]
        self.assertEqual(run["outcome"]["kind"], "LOAD_FAILED")
        message = attempt["loads"][0]["outcome"]["message"]
        self.assertIn("llama-server", message)
        self.assertIn("install", message)
        self.assertIn("llama_server:", message)
        # What a device lacks is a fact about it: nothing is advised there, whatever would fit.
        self.assertIn("llama.cpp is not installed", self.ballast("devices", "show", "a").out)
        advice = self.ballast("models", "advise", "--model-id", "tiny", "--runtime", "llama.cpp", "--output", "json").json
        self.assertEqual(advice["current_optimal"], "")
        self.assertEqual({device["basis"] for level in advice["levels"] for device in level["devices"]}, {"DEVICE_FACTS"})
        self.assertRegex(advice["reason"], r"no level fits on all 2 devices: .*: llama\.cpp is not installed there \(and 1 more device\)")

    def test_warming_the_page_cache_is_no_part_of_the_load(self):
        how = ("model", "--model-id", "tiny", "--quant", "F16", "--test-duration", "0.5", "--sample-interval", "20ms",
               "--device", "a", COUNT_ALL, "--output", "json")  # fmt: skip
        cold = run_results(self.ballast(*how, "--cache", "cold").json)[0][1]["loads"][0]
        self.assertGreaterEqual(cold["disk_read_bytes"], cold["weight_bytes"])
        directory = os.path.join(self.path("worker-a"), "models")
        for name in os.listdir(directory):
            with open(os.path.join(directory, name), "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        warm = run_results(self.ballast(*how, "--cache", "warm").json)[0][1]["loads"][0]
        self.assertEqual(warm["found_cache"], "WARM")
        self.assertLess(warm["disk_read_bytes"], warm["weight_bytes"] / 2)
        # What the runner takes itself is measured as the load begins: a small model's estimate is near.
        for load in (cold, warm):
            estimated = load["estimate"]["resident_bytes"]
            self.assertLess(abs(load["peak_resident_bytes"] - estimated), 0.15 * estimated, load)


class LocalModelTest(FleetTest):
    """On the local machine with nothing set up."""

    def test_levels_on_this_machine(self):
        first = self.ballast("models", "advise", "--model-id", "tiny", local=True)
        self.assertEqual(first.code, 0, first.err)
        self.assertIn("there is no device to advise on", first.out)
        self.assertIn("ballast model --model-id tiny", first.err)
        result = self.ballast("quantization", "--model-id", "tiny", "--quant-levels", "Q2_K,Q8_0", "--repeat", "1",
                              "--save-report", "--output-dir", self.path("out"), local=True)  # fmt: skip
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual(sorted(re.sub(r"^j-\w+", "JOB", name) for name in os.listdir(self.path("out"))),
                         ["JOB-loads.csv", "JOB.csv", "JOB.json"])  # fmt: skip
        advice = self.ballast("models", "advise", "--model-id", "tiny", "--max-load", "60s", COUNT_ALL, "--output", "json", local=True)
        self.assertEqual(advice.json["current_optimal"], "Q8_0", advice.json)


class SoakTest(FleetTest):
    def test_a_soak_goes_on_after_its_worker_was_killed(self):
        self.start_coordinator()
        worker = self.start_worker("a")
        seconds = float(os.environ.get("BALLAST_TEST_SOAK_SECONDS", "20"))
        job_id = self.submit("stability", "--hours", str(seconds / 3600), "--use-model", "--model-id", "tiny")

        def partial():
            # A report of what there is, at any moment.
            soak = self.ballast("report", job_id, "--output", "json").json["runs"][0]["soak"]
            return soak if soak and soak["cycle_count"] >= 2 else None

        before = wait_until(partial, 60, "two cycles")
        # The third one is cut off.
        worker.kill()
        self.start_worker("a")
        report = self.watch(job_id, timeout_s=60 + 2 * seconds)
        run = report["runs"][0]["run"]
        self.assertEqual(run["outcome"]["kind"], "COMPLETED", run["outcome"])
        self.assertEqual([attempt["result"]["outcome"]["kind"] for attempt in run["attempts"]], ["WORKER_CRASHED", "COMPLETED"])
        soak = report["runs"][0]["soak"]
        self.assertGreater(soak["cycle_count"], before["cycle_count"])
        self.assertEqual(soak["survived_count"], soak["cycle_count"])
        # Every cycle has its place, and the one that was cut off is no cycle.
        self.assertEqual([cycle["index"] for cycle in soak["cycles"]], list(range(1, soak["cycle_count"] + 1)))
        self.assertEqual(len(soak["gaps"]), 1)
        self.assertIn("WORKER_CRASHED", soak["gaps"][0]["message"])
        # The first cycle of each attempt is no part of a trend, which takes two more than there are attempts. A busy machine has fewer.
        if soak["cycle_count"] >= 2 + 4:
            self.assertLessEqual(
                {"agent_resident_bytes", "runner_resident_bytes", "system_used_bytes", "load_seconds"},
                {trend["name"] for trend in soak["trends"]},
            )
        for trend in soak["trends"]:
            self.assertLessEqual(trend["low_per_hour"], trend["slope_per_hour"])
            self.assertLessEqual(trend["slope_per_hour"], trend["high_per_hour"])


class LimitedModelTest(FleetTest):
    """A worker in a memory cgroup that is about half as large as the model."""

    def setUp(self):
        super().setUp()
        try:
            self.group = LimitedGroup(LIMIT)
        except OSError as error:
            self.skipTest(f"cannot make a limited memory cgroup here: {error}")
        self.addCleanup(self.group.remove)
        self.start_coordinator()
        self.worker = self.start_worker("limited", preexec_fn=self.group.join)

    def load(self, *flags, code, loads=1):
        result = self.ballast("model", "--model-id", LIMITED_MODEL, "--quant", LIMITED_LEVEL, "--repeat", str(loads), *flags,
                              "--output", "json", timeout_s=300)  # fmt: skip
        self.assertEqual(result.code, code, result.err)
        self.assertTrue(process_exists(self.worker.pid), self.worker.log())
        self.assertEqual(children_of(self.worker.pid), [])
        run, attempt = run_results(result.json)[0]
        self.assertEqual(len(attempt["loads"]), loads)
        for kind in ("HOLD", "RECOVERY"):
            self.assertTrue(phases(attempt, kind), f"the job goes on to its end: {attempt['phases']}")
        return run, attempt["loads"]

    def test_mapped_weights_survive_where_read_and_locked_ones_are_killed(self):
        run, loads = self.load("--passes", "1", code=0)
        self.assertEqual(run["outcome"]["kind"], "COMPLETED", run["outcome"])
        mapped = loads[0]
        self.assertEqual(mapped["found_cache"], "COLD", "a warm page cache is charged to others, and proves nothing")
        self.assertGreater(mapped["file_bytes"], 1.7 * LIMIT)
        # Two passes over more than fits: what was dropped is read again.
        self.assertGreater(mapped["disk_read_bytes"], mapped["file_bytes"])
        self.assertGreater(stage(mapped, "PASSES")["refault_bytes"], 0)
        self.assertLess(mapped["peak_resident_bytes"], LIMIT)

        refused, loads = self.load("--loader", "read", code=1)
        self.assertEqual(refused["outcome"]["kind"], "LOAD_FAILED", refused["outcome"])
        self.assertIn("--force", refused["outcome"]["message"])

        for flags in (("--loader", "read"), ("--loader", "mmap", "--lock")):
            with self.subTest(" ".join(flags)):
                # The guard would be quicker than the kernel.
                killed, loads = self.load(*flags, "--force", "--until", "oom", "--expect", "OOM_KILLED", code=0, loads=2)
                self.assertEqual(killed["outcome"]["kind"], "OOM_KILLED", killed["outcome"])
                self.assertIn("0 of 2", killed["outcome"]["message"])
                for load in loads:
                    self.assertEqual(load["outcome"]["kind"], "OOM_KILLED", load["outcome"])
                    evidence = load["outcome"]["evidence"]
                    self.assertEqual(evidence["killer"], "KERNEL_MEMCG_OOM")
                    self.assertEqual(evidence["signal"], 9)
                    self.assertGreaterEqual(evidence["cgroup_oom_kill_count"], 1)
                    self.assertGreater(load["peak_resident_bytes"], 0.6 * LIMIT)

        # The report puts them beside each other, never together.
        advice = self.ballast("models", "advise", "--model-id", LIMITED_MODEL, "--loader", "mmap", COUNT_ALL, "--output", "json").json
        verdict = next(level for level in advice["levels"] if level["quant"] == LIMITED_LEVEL)["devices"][0]
        self.assertEqual((verdict["fits"], verdict["estimated"]), (False, False))
        self.assertIn("0 of 2 loads survived: 2 OOM_KILLED", verdict["reason"])
        self.assertIn("other conditions", advice["remarks"][0])


if __name__ == "__main__":
    unittest.main()
