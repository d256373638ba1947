"""Sharing a fleet, with real programs: expressions, any devices, matrices, reservations, schedules, and what waiting jobs wait for."""

import signal
import unittest

from fleet import FleetTest, wait_until

SHORT = "workload: {pressure: {staircase: {step_size_bytes: 1MiB, interval: 0.05, steps: 2}, baseline: 0, recovery: 0}}\nguard: {mode: OFF}\n"
# Goes on until it is cancelled.
LONG = "workload: {pressure: {staircase: {step_size_bytes: 1MiB, interval: 60, steps: 100}, baseline: 0, recovery: 0}}\nguard: {mode: OFF}\n"


class PlanningTest(FleetTest):
    def job_file(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def begin(self, *flags, devices=(("dev-1", "rack=a"), ("dev-2", "rack=b"))):
        self.coordinator = self.start_coordinator(*flags)
        self.short = self.job_file("short.yaml", SHORT)
        self.long = self.job_file("long.yaml", LONG)
        return [self.start_worker(device, labels) for device, labels in devices]

    def submit_as(self, user, *arguments):
        result = self.ballast("submit", *arguments, "--detach", "--output", "json", environment={"USER": user})
        self.assertEqual(result.code, 0, result.err)
        return result.json["job_id"]

    def waits(self, job_id):
        """What a job waits for: kinds and messages."""
        result = self.ballast("jobs", "show", job_id, "--output", "json")
        self.assertEqual(result.code, 0, result.err)
        return [(reason["kind"], reason["message"]) for reason in result.json.get("wait_reasons", [])]

    def wait_for_device_run(self, device, job):
        wait_until(
            lambda: self.ballast("devices", "show", device, "--output", "json").json.get("active_run_id", "").startswith(job + "."),
            20, f"a run of {job} on {device}")

    def test_jobs_list_says_what_each_waiting_job_waits_for(self):
        self.begin()
        holder = self.submit_as("ada", self.long, "--set", "devices.device_ids=dev-1")
        self.wait_for_device_run("dev-1", holder)
        busy = self.submit_as("bob", self.short, "--set", "devices.device_ids=dev-1")
        behind = self.submit_as("eve", self.short, "--set", "devices.device_ids=dev-1", "--set", "priority=-5")
        reserved = self.ballast("reservations", "create", "--device", "dev-2", "--for", "1h", "--note", "a test", "--output", "json",
                                environment={"USER": "bob"})
        self.assertEqual(reserved.code, 0, reserved.err)
        self.assertEqual(reserved.json["device_ids"], ["dev-2"])
        other = self.submit_as("eve", self.short, "--set", "devices.device_ids=dev-2")

        self.assertEqual(self.waits(busy), [("DEVICE_BUSY", f"device dev-1 carries out run {holder}.1 of ada")])
        self.assertEqual(self.waits(behind), [("QUEUED_BEHIND", f"run {busy}.1 of bob goes before it on device dev-1")])
        [(kind, message)] = self.waits(other)
        self.assertEqual(kind, "DEVICE_RESERVED")
        self.assertRegex(message, r"^device dev-2 is reserved for bob until 2\d\d\d-")
        table = self.ballast("jobs", "list").out
        self.assertIn("WAITING RUNS", table)
        lines = {line.split()[0]: line for line in table.splitlines()[1:]}
        self.assertIn(f"1: device dev-1 carries out run {holder}.1 of ada", lines[busy])
        self.assertIn(f"1: run {busy}.1 of bob goes before it", lines[behind])
        self.assertIn("1: device dev-2 is reserved for bob until", lines[other])
        self.assertIn("reserved for bob", self.ballast("devices", "list").out)
        listed = self.ballast("jobs", "list", "--output", "csv").out
        self.assertIn("1 DEVICE_BUSY dev-1", listed)

        # Another's reservation is refused, ended by another, and ends with its holder's word.
        refused = self.ballast("reservations", "create", "--on", "rack=b", "--for", "1h", environment={"USER": "eve"})
        self.assertEqual(refused.code, 6, refused.err)
        self.assertIn("device dev-2 is reserved for bob from", refused.err)
        reservation = reserved.json["reservation_id"]
        self.assertRegex(reservation, r"^v-[0-9a-z]{10}$")
        self.assertEqual(self.ballast("reservations", "end", reservation, environment={"USER": "eve"}).code, 3)
        # Both sides remember over a restart.
        self.coordinator.terminate()
        self.coordinator = self.start_coordinator(listen=self.address)
        self.wait_for_device("dev-2")
        self.assertEqual(self.waits(other)[0][0], "DEVICE_RESERVED")
        self.assertIn("a test", self.ballast("reservations", "list").out)
        self.assertEqual(self.ballast("reservations", "end", reservation, environment={"USER": "bob"}).code, 0)
        self.watch(other)
        self.ballast("jobs", "cancel", holder)
        for job in (busy, behind):
            self.watch(job)
            self.assertEqual(self.waits(job), [])

    def test_any_device_that_an_expression_matches_and_every_variant(self):
        self.begin(devices=(("dev-1", "rack=a"), ("dev-2", "rack=b"), ("dev-3", "rack=c,broken=yes")))
        job = self.submit_as("ada", self.short, "--set", "devices.expression=rack in (a, b, c), !broken, cpu_count >= 1, memory_bytes > 1MiB",
                             "--set", "devices.count=2", "--set", "repetitions=2", "--set", "max_parallel_runs=1")
        self.watch(job)
        runs = self.runs_of(job)
        self.assertEqual(len(runs), 4)
        self.assertEqual({run["outcome"]["kind"] for run in runs}, {"COMPLETED"})
        self.assertEqual(sorted((run["repetition"], run["device_id"]) for run in runs),
                         [(1, "dev-1"), (1, "dev-2"), (2, "dev-1"), (2, "dev-2")])

        mistyped = self.ballast("simple", "--mode", "burst", "--on", "rak=a, cpu_count>=1", "--detach")
        self.assertEqual(mistyped.code, 4, mistyped.err)
        self.assertIn("no device has a label 'rak'", mistyped.err)
        self.assertIn("did you mean 'rack'", mistyped.err)
        wrong = self.ballast("simple", "--mode", "burst", "--on", "memory_bytes <= 4XB", "--detach")
        self.assertEqual(wrong.code, 2, wrong.err)
        self.assertIn("at 17: expected a number of bytes such as 4GiB", wrong.err)
        many = self.ballast("simple", "--mode", "burst", "--all", "--count", "7", "--detach")
        self.assertEqual(many.code, 6, many.err)
        self.assertIn("wants 7 devices, and 3 can do it", many.err)

        matrix = self.job_file("matrix.yaml", SHORT + "matrix: {environments: [none, phone-3gb]}\ndevices: {device_ids: [dev-1]}\nrepetitions: 2\n")
        job = self.submit_as("ada", matrix)
        self.watch(job)
        runs = sorted(self.runs_of(job), key=lambda run: int(run["run_id"].split(".")[1]))
        profile = runs[1]["matrix_environment"]
        self.assertEqual([run["matrix_environment"] for run in runs], ["none", profile, profile, "none"])
        self.assertNotEqual(profile, "phone-3gb", "the profile's own name")
        for run in runs:
            environment = run["attempts"][-1]["result"].get("environment", {})
            self.assertEqual(run["outcome"]["kind"] == "ENVIRONMENT_REFUSED" or bool(environment), run["matrix_environment"] == profile)
        self.assertIn("VARIANT", self.ballast("runs", "list", "--job", job).out)
        unknown = self.ballast("submit", matrix, "--set", "matrix.environments=phone-4gb", "--detach")
        self.assertEqual(unknown.code, 4, unknown.err)

    def test_schedules_submit_by_the_clock(self):
        self.begin(devices=(("dev-1", "rack=a"),))
        put = self.ballast("schedules", "put", self.short, "--name", "often", "--cron", "* * * * *", "--time-zone", "Europe/Berlin",
                           "--output", "json", environment={"USER": "eve"})
        self.assertEqual(put.code, 0, put.err)
        self.assertEqual(put.json["submitter"], "eve")
        self.assertIn("often", self.ballast("schedules", "list").out)
        paused = self.ballast("schedules", "put", self.short, "--name", "nightly", "--cron", "0 2 * * *", "--paused", "--output", "json")
        self.assertIsNone(paused.json["next_time"])
        self.assertIsNotNone(self.ballast("schedules", "resume", "nightly", "--output", "json").json["next_time"])
        self.assertIsNone(self.ballast("schedules", "pause", "nightly", "--output", "json").json["next_time"])
        wrong = self.ballast("schedules", "put", self.short, "--name", "wrong", "--cron", "0 25 * * *")
        self.assertEqual(wrong.code, 2, wrong.err)
        self.assertIn("the hour '25' is none", wrong.err)
        nowhere = self.ballast("schedules", "put", self.short, "--name", "wrong", "--cron", "@daily", "--time-zone", "Mars/Base")
        self.assertIn("'Mars/Base' is no time zone", nowhere.err)

        def submitted():
            schedule = self.ballast("schedules", "show", "often", "--output", "json").json
            return schedule if schedule.get("last_job_id") else None

        # Killed before the time, it is there again for it.
        self.coordinator.process.send_signal(signal.SIGKILL)
        self.coordinator.process.wait(10)
        self.coordinator = self.start_coordinator(listen=self.address)
        schedule = wait_until(submitted, 75, "the job of the minute")
        job = self.ballast("jobs", "show", schedule["last_job_id"], "--output", "json").json
        self.assertEqual((job["schedule_id"], job["submitter"]), ("often", "eve"))
        self.assertEqual(self.ballast("schedules", "delete", "often", environment={"USER": "ada"}).code, 3)
        self.assertEqual(self.ballast("schedules", "delete", "often", environment={"USER": "eve"}).code, 0)
        self.watch(job["job_id"])

    def test_a_device_that_fails_again_and_again_is_kept_aside_until_it_passes_its_self_test(self):
        configuration = self.job_file("coordinator.yaml", "scheduling: {quarantine_after: 2, health_check_interval: 3s}\ndata_dir: /unused\n")
        worker = self.begin("--config", configuration, devices=(("dev-1", "rack=a"),))[0]
        for _ in range(2):
            job = self.submit_as("ada", self.long)
            self.wait_for_device_run("dev-1", job)
            run = wait_until(lambda: [r for r in self.runs_of(job) if r["state"] == "RUNNING"], 20, "the run")[0]
            worker.kill()
            worker = self.start_worker("dev-1", "rack=a", wait=False)
            self.watch(job)
            self.assertEqual(self.ballast("runs", "show", run["run_id"], "--output", "json").json["outcome"]["kind"], "WORKER_CRASHED")
        listed = self.ballast("devices", "list").out
        self.assertIn("2 attempts in a row failed", listed)
        refused = self.ballast("submit", self.short, "--detach")
        self.assertEqual(refused.code, 6, refused.err)
        self.assertIn("device dev-1 is in quarantine", refused.err)
        self.wait_for_device("dev-1", ("READY",), 40)
        checks = [job for job in self.ballast("jobs", "list", "--output", "json").json["jobs"] if job.get("health_check_device_id")]
        self.assertEqual([(job["health_check_device_id"], job["state"]) for job in checks], [("dev-1", "FINISHED")])
        job = self.submit_as("ada", self.short)
        self.watch(job)


if __name__ == "__main__":
    unittest.main()
