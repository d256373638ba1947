"""Floods from those whom a coordinator with certificates does not let in: handshakes, calls, streams."""

import contextlib
import ssl
import sys
import threading
import time
import unittest

import access_test
import hardening_test
import namespaces
from fleet import MIB, query, resident_bytes, wait_until
from hardening_test import grpc_frames


def setUpModule():
    namespaces.enter_network()


def client_hello():
    """What a client of gRPC says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("nobody answered, and the handshake was through")


class FloodTest(access_test.AccessTest):
    def test_half_open_handshakes_hold_up_nobody(self):
        if hardening_test.raise_open_files() < hardening_test.HALF_OPEN + 500:
            self.skipTest("this process may not open so many connections")
        coordinator = self.begin(limits="{handshake_timeout: 60s}")
        admin = self.login("admin", "root")
        self.join("dev-1", wait_as=admin)
        job = self.job(steps=2, interval=0.05)

        def run_quickly():
            begin = time.monotonic()
            result = self.ballast(*job, environment=admin)
            self.assertEqual(result.code, 0, result.err)
            return time.monotonic() - begin

        before = min(run_quickly() for _ in range(3))
        hello = client_hello()
        files, resident = hardening_test.open_files(coordinator.pid), resident_bytes(coordinator.pid)
        begin = time.monotonic()
        # Nothing, half of a hello, a hello whose answer is not answered.
        attack = hardening_test.HalfOpen(self.address, hardening_test.HALF_OPEN, (b"", hello[:20], hello), hello[20:])
        self.addCleanup(attack.close)
        wait_until(lambda: hardening_test.open_files(coordinator.pid) >= files + hardening_test.HALF_OPEN - 50, 50, "the connections to be taken")
        times = [run_quickly() for _ in range(5)]
        held = hardening_test.open_files(coordinator.pid) - files
        grown = resident_bytes(coordinator.pid) - resident
        left = attack.wait_until_closed(90)
        print(f"\n{hardening_test.HALF_OPEN} half-open TLS handshakes: submit to result {before:.2f} s before, {min(times):.2f} to {max(times):.2f} s "
              f"meanwhile; {held} open then, {grown / hardening_test.HALF_OPEN / 1024:.1f} KiB each; all closed after "
              f"{time.monotonic() - begin:.1f} s", file=sys.stderr)  # fmt: skip
        self.assertGreaterEqual(held, hardening_test.HALF_OPEN // 2, "they were there while the jobs went on")
        self.assertEqual(left, 0, "every one is closed")
        self.assertLess(grown, hardening_test.HALF_OPEN * 2 * hardening_test.MOST_BYTES_A_CONNECTION)
        self.assertLess(min(times), before + 5)
        self.assertEqual(self.state_of("dev-1", admin), "READY")

    def test_refusals_fill_neither_the_log_nor_the_disk(self):
        coordinator = self.begin()
        admin = self.login("admin", "root")
        entries = query(coordinator.database, "select count(*) from audit_entries")[0][0]

        with self.stranger() as connection:
            client = grpc_frames.EmptyCalls(connection, self.address)
            for first in range(0, 300, 50):
                client.make("/" + f"{number:04d}" * 1000 for number in range(first, first + 50))
        log = self.ballast("audit", "--output", "json", environment=admin).json["entries"]
        unknown = [entry for entry in log if entry["action"] == "UnknownCall"]
        self.assertEqual(sum(max(entry["count"], 1) for entry in unknown), 300)
        self.assertLessEqual(query(coordinator.database, "select count(*) from audit_entries")[0][0], entries + 3)
        self.assertNotIn("00010001", coordinator.log() + str(log))

    def test_streams_that_are_taken_back_at_once_hold_up_nobody(self):
        coordinator = self.begin()
        admin = self.login("admin", "root")
        self.join("dev-1", wait_as=admin)
        resident = resident_bytes(coordinator.pid)
        over = threading.Event()
        opened = 0

        def flood():
            nonlocal opened
            while not over.is_set():
                with contextlib.suppress(OSError), self.stranger() as connection:
                    client = grpc_frames.EmptyCalls(connection, self.address)
                    while not over.is_set():
                        client.make_and_reset("/ballast.v1.JobService/ListJobs", 100)
                        opened += 100

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            times = []
            for _ in range(3):
                begin = time.monotonic()
                result = self.ballast(*self.job(steps=2, interval=0.05), environment=admin)
                self.assertEqual(result.code, 0, result.err)
                times.append(time.monotonic() - begin)
        finally:
            over.set()
            thread.join()
        grown = resident_bytes(coordinator.pid) - resident
        print(f"\n{opened} streams were opened and reset: submit to result {min(times):.2f} to {max(times):.2f} s meanwhile; the coordinator "
              f"grew by {grown / MIB:.1f} MiB", file=sys.stderr)  # fmt: skip
        self.assertGreater(opened, 1000)
        self.assertLess(grown, 256 * MIB)
        self.assertEqual(self.state_of("dev-1", admin), "READY")


if __name__ == "__main__":
    unittest.main()
