"""fleet_check.py finds each planted fault, and none where there is none."""

import contextlib
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import unittest

from fleet import FleetTest, query, wait_until
from fleet_check import FleetCheck, SpoolWitness, frame, proto_schema, read_spool

JOB = ("workload: {pressure: {staircase: {step_size_bytes: 1MiB, interval: 1, steps: 6}, baseline: 0, recovery: 0}}\n"
       "guard: {mode: OFF}\ntelemetry: {sample_interval: 0.25}\n")  # fmt: skip


class FleetCheckTest(FleetTest):
    @classmethod
    def setUpClass(cls):
        cls.schema = proto_schema.compile_schema()

    def setUp(self):
        super().setUp()
        self.coordinator = self.start_coordinator()
        self.worker = self.start_worker("dev-1")
        witness = SpoolWitness(self.path("witness"), {"dev-1": self.worker.directory})
        self.addCleanup(witness.close)
        with open(self.path("job.yaml"), "w", encoding="utf-8") as file:
            file.write(JOB)
        self.job = self.submit("submit", self.path("job.yaml"))
        self.watch(self.job)
        wait_until(lambda: not os.listdir(os.path.join(self.worker.directory, "spool")), 10, "an empty spool")
        witness.close()
        self.assertEqual(self.worker.terminate(), 0)
        self.assertEqual(self.coordinator.terminate(), 0)
        self.run_id = self.job + ".1"
        shutil.copy(self.coordinator.database, self.path("as_it_was.db"))

    def test_each_planted_fault_is_found(self):
        for check in (self.check_the_database, self.check_the_program, self.check_files):
            with self.subTest(check.__name__):
                shutil.copy(self.path("as_it_was.db"), self.coordinator.database)
                check()

    def faults(self, running=False):
        check = FleetCheck(self.coordinator.database, [self.worker.directory], self.path("witness"), running)
        return check.check()

    def change(self, *statements):
        """The faults after SQL was carried out on the database as it was."""
        shutil.copy(self.path("as_it_was.db"), self.coordinator.database)
        with contextlib.closing(sqlite3.connect(self.coordinator.database)) as database:
            for statement, *parameters in statements:
                database.execute(statement, parameters)
            database.commit()
        return self.faults()

    def assert_found(self, faults, *texts):
        for text in texts:
            self.assertTrue(any(text in fault for fault in faults), f"{text!r} is not among {faults}")

    def changed_run(self, change):
        ((message,),) = query(self.path("as_it_was.db"), "select message from runs")
        run = self.schema.decode("ballast.v1.Run", message)
        change(run)
        del run["annotations"]
        # Parts that cannot be written here are left out; the check does not look at them.
        for attempt in run["attempts"]:
            result = attempt["result"]
            attempt["result"] = {"sample_count": result["sample_count"], "outcome": {"kind": result["outcome"]["kind"]}}
        return ("update runs set message = ?", self.schema.encode("ballast.v1.Run", run))

    def check_the_database(self):
        self.assertEqual(self.faults(), [])
        self.assertEqual(query(self.coordinator.database, "select seq from chunks order by seq"), [(2,), (3,)])
        self.assertEqual(len(read_spool(self.path("witness/dev-1"))[0]), 4, "the witness saw every record")
        run = self.run_id
        self.assertEqual(self.change(self.changed_run(lambda _: None)), [], "what is written here is what the check reads")

        self.assert_found(self.change(("delete from chunks where seq = 2",)), "its chunks are [3]", "chunk 2 is not stored although", "samples")
        self.assert_found(self.change(("delete from chunks where seq = 3",)),
                          "chunk 3 is not stored although", "1 chunks before its last record, which is 4")  # fmt: skip
        self.assert_found(self.change(("update chunks set seq = 5 where seq = 3",)), "its chunks are [2, 5]")
        self.assert_found(self.change(("insert into chunks select run_id, attempt, 4, event_count, message from chunks where seq = 3",)),
                          "chunk 4 begins at", "samples")  # fmt: skip
        self.assert_found(self.change(("update chunks set message = (select message from chunks where seq = 2) where seq = 3",)),
                          "chunk 3 is stored with other content")  # fmt: skip
        self.assert_found(self.change(("update rollups set value_count = 2 * value_count",)), "counts")
        self.assert_found(self.change(("update runs set state = 3",)), "the columns say ('RUNNING', 'COMPLETED')")
        self.assert_found(self.change(("update runs set outcome = 2",)), "the columns say ('ENDED', 'OOM_KILLED')")
        self.assert_found(self.change(self.changed_run(lambda run: run.update(state="RUNNING"))),
                          f"{run}: it is still RUNNING", "has the outcome", "it is FINISHED with 0 of 1")  # fmt: skip
        self.assert_found(self.change(self.changed_run(lambda run: run["outcome"].update(kind="OOM_KILLED"))),
                          "its outcome is OOM_KILLED, that of its last attempt COMPLETED")  # fmt: skip
        late = {"attempt": 1, "result": {"outcome": {"kind": "COMPLETED"}}}
        self.assert_found(self.change(self.changed_run(lambda run: run["late_results"].extend((late, late)))),
                          "2 late results", "a result of its own and a late one")  # fmt: skip
        self.assert_found(self.change(self.changed_run(lambda run: run["attempts"][0].update(given_up=True))),
                          "what the device says of its end (record 4) is not stored although the device had it")  # fmt: skip
        self.assert_found(self.change(("delete from chunks",), ("delete from rollups",), ("delete from runs",)), "there is no such attempt")

    def check_files(self):
        def record(seq):
            chunk = {"header": {"sample_count": 1}, "body": b"x"}
            return frame(self.schema.encode("ballast.v1.Record", {"run_id": self.run_id, "attempt": 1, "seq": seq, "chunk": chunk}))

        attempt = pathlib.Path(self.worker.directory, "spool", self.run_id + "@1")
        attempt.mkdir()
        (attempt / "00000000000000000005.seg").write_bytes(record(5) + record(6)[:-1])
        self.assert_found(self.faults(), "it is left, records [5] are not stored")
        self.assert_found(self.faults(running=True), "records [4] are neither in the spool nor in the database")
        shutil.rmtree(attempt)
        attempt.mkdir()
        shutil.copy(next(pathlib.Path(self.path("witness")).glob("*/*/*0001.seg.*")), attempt / "00000000000000000001.seg")
        self.assert_found(self.faults(), "it is left, and all of it is stored")
        self.assertEqual(self.faults(running=True), [])
        shutil.rmtree(attempt)
        pathlib.Path(self.worker.directory, "set_aside", self.run_id + "@1").mkdir(parents=True)
        self.assert_found(self.faults(), "it was set aside")
        pathlib.Path(self.worker.directory, "set_aside", self.run_id + "@1").rmdir()
        (next(pathlib.Path(self.path("witness")).glob("*/*")) / "00000000000000000003.seg.1").write_bytes(record(3))
        self.assert_found(self.faults(), "record 3 was written twice, with two contents")

    def check_the_program(self):
        program = [sys.executable, "-B", os.path.join(os.path.dirname(os.path.abspath(__file__)), "fleet_check.py"), "--witness", self.path("witness")]

        def check(*arguments):
            return subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=60, check=False)

        done = check(self.coordinator.database, self.worker.directory)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("1 runs (0 open; 1 COMPLETED), 1 attempts", done.stdout)
        self.change(("delete from chunks where seq = 2",))
        done = check(self.coordinator.database, self.worker.directory)
        self.assertEqual(done.returncode, 1)
        self.assertIn("error: ", done.stderr)
        self.assertEqual(check(self.path("nothing.db")).returncode, 1)


if __name__ == "__main__":
    unittest.main()
