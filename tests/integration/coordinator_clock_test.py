"""The coordinator's clock is set in mid-run, forwards and back: no lease ends, no time is up, no name is given twice."""

import glob
import os
import unittest

from fleet import Coordinator, FleetTest, query, wait_until
from fleet_check import FleetCheck

DAY_S = 86400
LONG = ("simple", "--mode", "staircase", "--step-size", "2", "--interval", "1", "--steps", "7", "--baseline", "0", "--recovery", "0")
SMALL = ("simple", "--mode", "staircase", "--step-size", "2", "--interval", "0.2", "--steps", "1", "--baseline", "0", "--recovery", "0")


class CoordinatorClockTest(FleetTest):
    def set_clock(self, by_s):
        with open(self.path("clock.new"), "w", encoding="ascii") as file:
            file.write(str(by_s))
        os.replace(self.path("clock.new"), self.path("clock"))

    def last_seen(self):
        return self.ballast("devices", "show", "dev-1", "--output", "json").json["last_seen_time"]

    def wait_for_heartbeat(self, before, later):
        """By a clock that was set on since, or back."""

        def heard():
            seen = self.last_seen()
            return seen[:10] > before[:10] if later else seen[:10] < before[:10]

        wait_until(heard, 10, "a heartbeat by the new clock")

    def test_set_in_mid_run(self):
        coordinator = Coordinator(self.path("coordinator"), "127.0.0.1:0", "--heartbeat-interval", "0.2", "--offline-after", "2s",
                                  name="other_coordinator", environment={"BALLAST_TEST_CLOCK": self.path("clock")})  # fmt: skip
        self.addCleanup(coordinator.close)
        self.address = coordinator.address
        worker = self.start_worker("dev-1")
        job = self.submit(*LONG)
        self.wait_for_run(job + ".1", "RUNNING")
        jobs = [job]
        # An hour is how long a device may be out of contact; a month back is before everything that was stored.
        for by_s in (DAY_S, -30 * DAY_S):
            before = self.last_seen()
            self.set_clock(by_s)
            self.wait_for_heartbeat(before, later=by_s > 0)
            self.assertEqual(self.runs_of(job)[0]["state"], "RUNNING")
            self.wait_for_device("dev-1", ("BUSY",))
            jobs.append(self.submit(*SMALL))
        self.assertEqual(len(set(jobs)), 3)
        self.assertEqual(jobs, sorted(jobs), "names rise, whatever the clock says")
        for one in jobs:
            run = self.watch(one)["runs"][0]["run"]
            self.assertEqual((run["outcome"]["kind"], len(run["attempts"])), ("COMPLETED", 1))
        wait_until(lambda: not glob.glob(os.path.join(worker.directory, "spool", "*")), 10, "an empty spool")
        self.assertEqual(FleetCheck(coordinator.database, [worker.directory]).check(), [])
        self.assertEqual(query(coordinator.database, "select count(*) from runs where state <> 4"), [(0,)])


if __name__ == "__main__":
    unittest.main()
