"""Programs that cannot start, or cannot reach what they need, say why and leave with the right exit code."""

import contextlib
import os
import socket
import sqlite3
import subprocess
import unittest

from fleet import FleetTest, program


class StartupTest(FleetTest):
    def run_program(self, name, *flags):
        completed = subprocess.run([program(name), *flags], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, timeout=20, check=False)  # fmt: skip
        return completed.returncode, completed.stderr.decode()

    def refused(self, code, needle, name, *flags):
        got, err = self.run_program(name, *flags)
        self.assertEqual(got, code, err)
        self.assertIn("error: ", err)
        self.assertIn("  try: ", err)
        self.assertIn(needle, err)

    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.refused(1, address, "ballast-coordinator", "--listen", address, "--data-dir", self.path("c"))

    def test_a_data_directory_that_cannot_be_written(self):
        with open(self.path("file"), "w", encoding="ascii"):
            pass
        directory = self.path("file/below")
        self.refused(1, directory, "ballast-coordinator", "--listen", "127.0.0.1:0", "--data-dir", directory)
        self.refused(1, directory, "ballast-worker", "--coordinator", "127.0.0.1:1", "--data-dir", directory)

    def test_a_database_that_is_newer_or_damaged_or_in_use(self):
        coordinator = self.start_coordinator()
        self.refused(1, "ballast.db", "ballast-coordinator", "--listen", "127.0.0.1:0", "--data-dir", coordinator.directory)
        self.assertEqual(coordinator.terminate(), 0)
        database = coordinator.database
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("update schema_version set version = version + 1000, oldest_compatible_version = version + 1000")
        self.refused(1, "newer", "ballast-coordinator", "--listen", "127.0.0.1:0", "--data-dir", coordinator.directory)
        with open(database, "r+b") as file:
            file.write(b"not a database at all" * 20)
        self.refused(1, "not a database", "ballast-coordinator", "--listen", "127.0.0.1:0", "--data-dir", coordinator.directory)

    def test_addresses_off_the_machine_need_a_word(self):
        self.refused(1, "insecure", "ballast-coordinator", "--listen", "0.0.0.0:0", "--data-dir", self.path("c"))
        self.refused(1, "insecure", "ballast-worker", "--coordinator", "192.0.2.1:1", "--data-dir", self.path("w"))

    def test_unknown_flags_and_bad_configuration(self):
        for name in ("ballast-coordinator", "ballast-worker"):
            self.refused(2, "--nonsense", name, "--nonsense")
            with open(self.path("config.yaml"), "w", encoding="utf-8") as config:
                config.write("data_dir: x\nlog_lvel: info\n")
            self.refused(2, "config.yaml:2:1", name, "--config", self.path("config.yaml"))
            self.refused(2, "missing.yaml", name, "--config", self.path("missing.yaml"))

    def test_two_workers_on_one_data_directory(self):
        self.start_coordinator()
        worker = self.start_worker("dev-1")
        self.refused(1, worker.directory, "ballast-worker", "--coordinator", self.address, "--data-dir", worker.directory)

    def test_a_worker_stops_on_sigterm(self):
        self.start_coordinator()
        worker = self.start_worker("dev-1")
        self.assertEqual(worker.terminate(), 0)
        self.wait_for_device("dev-1", ("OFFLINE",))

    def test_a_worker_waits_for_its_coordinator(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % probe.getsockname()[1]
        worker = self.start_worker("dev-1", wait=False)
        self.assertEqual(self.ballast("devices", "list").code, 3)
        self.start_coordinator(listen=self.address)
        self.wait_for_device("dev-1")
        self.assertIsNone(worker.process.poll())
        self.assertTrue(os.path.isdir(worker.directory))


if __name__ == "__main__":
    unittest.main()
