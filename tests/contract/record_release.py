#!/usr/bin/env python3
"""Records what the programs of a release say and keep, for the tests of compatibility: real programs, real messages, real files.

    BALLAST_BIN_DIR=build/release/bin tests/contract/record_release.py

Writes, beside the released protocol, into `released/`:
    session.jsonl  one session of the worker: every message that passed, in order, {"from": "worker"|"coordinator", "message": BASE64}
    database.sql   the coordinator's database in mid-run, as SQL text
    spool/         the worker's spool at the same instant
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
sys.path.insert(0, str(HERE))

import grpc_frames  # noqa: E402
from fleet import FleetTest, query, wait_until  # noqa: E402

RELEASED = HERE / "released"
JOB = ("workload: {pressure: {staircase: {step_size_bytes: 1MiB, interval: 1, steps: 6}, baseline: 0, recovery: 0}}\n"
       "guard: {mode: OFF}\ntelemetry: {sample_interval: 0.25}\npolicy: {max_attempts: 2}\n")  # fmt: skip


class RecordRelease(FleetTest):
    def setUp(self):
        super().setUp()
        self.coordinator = self.start_coordinator()
        with open(self.path("job.yaml"), "w", encoding="utf-8") as file:
            file.write(JOB)

    def test_a_session(self):
        real = self.address
        proxy = grpc_frames.RecordingProxy(real)
        self.addCleanup(proxy.close)
        self.address = proxy.address
        worker = self.start_worker("dev-1", "class=recorded", wait=False)
        self.address = real
        self.wait_for_device("dev-1")
        report = self.watch(self.submit("submit", self.path("job.yaml")))
        self.assertEqual(report["runs"][0]["run"]["outcome"]["kind"], "COMPLETED")
        wait_until(lambda: not os.listdir(os.path.join(worker.directory, "spool")), 10, "an empty spool")
        worker.terminate()
        lines = [json.dumps({"from": side, "message": base64.b64encode(message).decode()}) for side, message in proxy.passed]
        (RELEASED / "session.jsonl").write_text("\n".join(lines) + "\n", encoding="ascii")

    def test_a_run_that_goes_on(self):
        worker = self.start_worker("dev-1", "class=recorded")
        self.submit("submit", self.path("job.yaml"))
        wait_until(lambda: query(self.coordinator.database, "select count(*) from chunks") == [(1,)], 20, "the first chunk")
        worker.kill()
        self.coordinator.kill()
        (application_id,) = query(self.coordinator.database, "pragma application_id")[0]
        dump = subprocess.run(["sqlite3", self.coordinator.database, ".dump"], capture_output=True, text=True, timeout=20, check=True).stdout
        (RELEASED / "database.sql").write_text(f"PRAGMA application_id={application_id};\n{dump}", encoding="utf-8")
        shutil.rmtree(RELEASED / "spool", ignore_errors=True)
        shutil.copytree(os.path.join(worker.directory, "spool"), RELEASED / "spool")


if __name__ == "__main__":
    unittest.main()
