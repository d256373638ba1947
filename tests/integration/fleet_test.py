"""One coordinator and several workers: selection, repetition, cancellation, history."""

import time
import unittest

from fleet import FleetTest, children_of, query, runners_of, wait_until

SMALL = ("simple", "--mode", "staircase", "--step-size", "8", "--interval", "0.2", "--steps", "2", "--baseline", "0.1",
         "--recovery", "0.1")  # fmt: skip
LONG = ("simple", "--mode", "staircase", "--step-size", "8", "--interval", "1", "--steps", "600", "--baseline", "0")


class ThreeWorkersTest(FleetTest):
    def setUp(self):
        super().setUp()
        self.coordinator = self.start_coordinator()
        self.workers = [
            self.start_worker("dev-1", "class=a,site=home"),
            self.start_worker("dev-2", "class=a,site=office"),
            self.start_worker("dev-3", "class=b"),
        ]

    def test_a_label_and_repetitions_make_the_right_runs(self):
        report = self.watch(self.submit(*SMALL, "--on", "class=a", "--repeat", "2", "--annotate", "build=42"))
        runs = [entry["run"] for entry in report["runs"]]
        self.assertEqual(
            sorted((run["device_id"], run["repetition"]) for run in runs),
            [("dev-1", 1), ("dev-1", 2), ("dev-2", 1), ("dev-2", 2)],
        )
        self.assertEqual({run["outcome"]["kind"] for run in runs}, {"COMPLETED"})
        self.assertEqual([group["group"] for group in report["by_device"]], ["dev-1", "dev-2"])
        self.assertEqual(report["overall"]["run_count"], 4)
        listed = self.ballast("runs", "list", "--on", "class=a", "--annotate", "build=42", "--output", "json").json["runs"]
        self.assertEqual({run["run_id"] for run in listed}, {run["run_id"] for run in runs})
        self.assertEqual(self.ballast("runs", "list", "--device", "dev-3", "--output", "json").json["runs"], [])

        compared = self.ballast("compare", report["jobs"][0]["job_id"], "--by", "device", "--output", "json")
        self.assertEqual(compared.code, 0, compared.err)
        self.assertEqual([(group["group"], group["run_count"]) for group in compared.json["groups"]], [("dev-1", 2), ("dev-2", 2)])

        written = self.ballast("report", report["jobs"][0]["job_id"], "--output-dir", self.path("out"))
        self.assertEqual(written.code, 0, written.err)
        self.assertEqual(query(self.coordinator.database, "pragma integrity_check"), [("ok",)])

    def test_one_run_at_a_time_on_a_device_and_priority_first(self):
        blocker = self.submit(*LONG, "--device", "dev-3")
        low = self.submit(*SMALL, "--device", "dev-3", "--priority", "-1")
        high = self.submit(*SMALL, "--device", "dev-3", "--priority", "5")
        self.wait_for_run(blocker + ".1", "RUNNING")
        for job in (low, high):
            self.assertEqual(self.runs_of(job)[0]["state"], "QUEUED")
        self.assertEqual(self.ballast("jobs", "cancel", blocker).code, 0)
        first = self.watch(high)["runs"][0]["run"]
        second = self.watch(low)["runs"][0]["run"]
        self.assertLessEqual(first["end_time"], second["start_time"])

    def test_cancel_ends_the_runner_within_a_second(self):
        job = self.submit(*LONG, "--device", "dev-1")
        runner = self.workers[0].runner_pid()
        self.wait_for_run(job + ".1", "RUNNING")
        asked = time.monotonic()
        self.assertEqual(self.ballast("jobs", "cancel", job).code, 0)
        wait_until(lambda: runner not in children_of(self.workers[0].pid), 5, "the runner to end")
        self.assertLess(time.monotonic() - asked, 1.0)
        run = self.watch(job)["runs"][0]["run"]
        self.assertEqual(run["outcome"]["kind"], "CANCELLED")
        self.assertEqual(self.ballast("jobs", "show", job, "--output", "json").json["state"], "CANCELLED")

    def test_a_drained_device_gets_nothing_until_it_is_resumed(self):
        blocker = self.submit(*LONG, "--device", "dev-3")
        job = self.submit(*SMALL, "--device", "dev-3")
        self.wait_for_run(blocker + ".1", "RUNNING")
        self.assertEqual(self.ballast("devices", "drain", "dev-3").code, 0)
        refused = self.ballast(*SMALL, "--device", "dev-3")
        self.assertEqual(refused.code, 6, refused.err)
        self.assertIn("drained", refused.err)
        self.assertEqual(self.ballast("jobs", "cancel", blocker).code, 0)
        self.assertEqual(self.watch(blocker)["runs"][0]["run"]["outcome"]["kind"], "CANCELLED")
        self.wait_for_device("dev-3", ("DRAINING",))
        self.assertEqual(self.runs_of(job)[0]["state"], "QUEUED")
        self.assertEqual(self.ballast("devices", "resume", "dev-3").code, 0)
        self.assertEqual(self.watch(job)["runs"][0]["run"]["outcome"]["kind"], "COMPLETED")

    def test_what_does_not_exist_is_named(self):
        for arguments, name in (
            (("--on", "class=c"), "class=c"),
            (("--device", "dev-9"), "dev-9"),
        ):
            result = self.ballast(*SMALL, *arguments)
            self.assertEqual(result.code, 4, result.err)
            self.assertIn(name, result.err)
            self.assertIn("  try: ", result.err)
        for arguments in (("jobs", "show", "j-nothing"), ("runs", "show", "j-nothing.1"), ("report", "j-nothing"),
                          ("watch", "j-nothing"), ("devices", "show", "dev-9")):  # fmt: skip
            result = self.ballast(*arguments)
            self.assertEqual(result.code, 4, result.err)


class RestartTest(FleetTest):
    def test_a_full_queue_survives_a_restart(self):
        coordinator = self.start_coordinator()
        worker = self.start_worker("dev-1")
        blocker = self.submit(*LONG, "--device", "dev-1")
        self.wait_for_run(blocker + ".1", "RUNNING")
        waiting = [self.submit(*SMALL, "--device", "dev-1") for _ in range(5)]
        self.assertEqual(coordinator.terminate(), 0)
        self.start_coordinator(listen=self.address)
        self.wait_for_device("dev-1", ("BUSY",))
        self.assertEqual(self.runs_of(blocker)[0]["state"], "RUNNING")
        self.assertEqual(len(runners_of(worker.pid)), 1)
        self.assertEqual(self.ballast("jobs", "cancel", blocker).code, 0)
        ended = [self.watch(job)["runs"][0]["run"] for job in waiting]
        self.assertEqual([run["outcome"]["kind"] for run in ended], ["COMPLETED"] * 5)
        starts = [run["start_time"] for run in ended]
        self.assertEqual(starts, sorted(starts))


if __name__ == "__main__":
    unittest.main()
