"""What nobody gets past: half-open connections, floods, messages that are too large, and jobs that a device does not allow."""

import contextlib
import os
import resource
import selectors
import socket
import struct
import sys
import threading
import time
import unittest

from fleet import MIB, ROOT, FleetTest, resident_bytes, wait_until

sys.path.insert(0, os.path.join(ROOT, "tests", "contract"))
import grpc_frames  # noqa: E402

HALF_OPEN = int(os.environ.get("BALLAST_TEST_HALF_OPEN", "5000"))
HANDSHAKE_S = 60
# Of one connection that says nothing, or not enough; measured: about 24 KiB.
MOST_BYTES_A_CONNECTION = 64 << 10
# What a client may begin with and not go on: nothing, half of HTTP/2's preface, a preface whose settings never come.
BEGINNINGS = (b"", grpc_frames.PREFACE[:12], grpc_frames.PREFACE)
QUICK = ("simple", "--mode", "staircase", "--step-size", "4", "--interval", "0.05", "--steps", "2", "--baseline", "0", "--recovery", "0")


def raise_open_files():
    """As many files as this process may open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class HalfOpen:
    """Connections that begin and do not go on. Those that began with the second of the `beginnings` send another byte of the `rest` now and
    then."""

    def __init__(self, address, count, beginnings=BEGINNINGS, rest=grpc_frames.PREFACE[12:]):
        host, port = address.rsplit(":", 1)
        self.sockets = []
        self._count = len(beginnings)
        self._rest = rest
        for number in range(count):
            one = socket.create_connection((host, int(port)), timeout=20)
            self.sockets.append(one)
            one.setblocking(False)
            with contextlib.suppress(OSError):
                one.send(beginnings[number % len(beginnings)])
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._dribble, daemon=True)
        self._thread.start()

    def _dribble(self):
        for at in range(len(self._rest) - 1):  # never the whole
            if self._over.wait(2):
                return
            for one in self.sockets[1 :: self._count]:
                with contextlib.suppress(OSError):
                    one.send(self._rest[at : at + 1])

    def wait_until_closed(self, timeout_s):
        """Until the other side has closed every one; returns how many it has not."""
        deadline = time.monotonic() + timeout_s
        with selectors.EpollSelector() as selector:
            for one in self.sockets:
                selector.register(one, selectors.EVENT_READ)
            left = len(self.sockets)
            while left and time.monotonic() < deadline:
                for key, _ in selector.select(1):
                    try:
                        over = not key.fileobj.recv(65536)
                    except BlockingIOError:
                        over = False
                    except OSError:
                        over = True
                    if over:
                        selector.unregister(key.fileobj)
                        left -= 1
            return left

    def close(self):
        self._over.set()
        self._thread.join(10)
        for one in self.sockets:
            one.close()


class HardeningTest(FleetTest):
    def start_limited(self, limits):
        with open(self.path("coordinator.yaml"), "w", encoding="ascii") as config:
            config.write(f"access_limits: {limits}\n")
        return self.start_coordinator("--config", self.path("coordinator.yaml"))

    def run_quickly(self):
        """Submits a job, awaits its result, and returns how long that took."""
        begin = time.monotonic()
        result = self.ballast(*QUICK, "--all", timeout_s=60)
        self.assertEqual(result.code, 0, result.out + result.err)
        return time.monotonic() - begin

    def test_half_open_connections_hold_up_nobody(self):
        if raise_open_files() < HALF_OPEN + 500:
            self.skipTest("this process may not open so many connections")
        coordinator = self.start_limited("{handshake_timeout: %ds}" % HANDSHAKE_S)
        self.start_worker("a")
        self.start_worker("b")
        before = min(self.run_quickly() for _ in range(3))
        files, resident = open_files(coordinator.pid), resident_bytes(coordinator.pid)
        begin = time.monotonic()
        attack = HalfOpen(coordinator.address, HALF_OPEN)
        self.addCleanup(attack.close)
        wait_until(lambda: open_files(coordinator.pid) >= files + HALF_OPEN - 50, HANDSHAKE_S - 10, "the connections to be taken")
        opened = time.monotonic() - begin
        times = [self.run_quickly() for _ in range(5)]
        held = open_files(coordinator.pid) - files
        grown = resident_bytes(coordinator.pid) - resident
        left = attack.wait_until_closed(HANDSHAKE_S + 30)
        lasted = time.monotonic() - begin
        print(
            f"\n{HALF_OPEN} half-open connections, open after {opened:.1f} s: submit to result {before:.2f} s before, {min(times):.2f} to {max(times):.2f} s "
            f"({len(times)} jobs) meanwhile; {held} still open then, {grown / HALF_OPEN / 1024:.1f} KiB each; all closed after {lasted:.1f} s",
            file=sys.stderr,
        )
        self.assertGreaterEqual(held, HALF_OPEN // 2, "they were there while the jobs went on")
        self.assertEqual(left, 0, "every one is closed")
        self.assertLess(grown, HALF_OPEN * MOST_BYTES_A_CONNECTION)
        self.assertLess(min(times), before + 5)
        wait_until(lambda: open_files(coordinator.pid) < files + 50, 30, "the coordinator to have closed them, too")
        self.run_quickly()
        devices = self.ballast("devices", "list", "--output", "json").json["devices"]
        self.assertEqual([device["state"] for device in devices], ["READY", "READY"])

    def test_the_port_stays_open_when_files_run_out(self):
        coordinator = self.start_coordinator()
        self.start_worker("a")
        # From now on fewer than are open soon: what is accepted cannot be.
        resource.prlimit(coordinator.pid, resource.RLIMIT_NOFILE, (open_files(coordinator.pid) + 20,) * 2)
        attack = HalfOpen(coordinator.address, 100)
        wait_until(lambda: "cannot be accepted" in coordinator.log(), 20, "the coordinator to say what is wrong")
        attack.close()
        self.assertLess(self.run_quickly(), 60)

    def test_a_message_of_a_gibibyte_is_refused(self):
        coordinator = self.start_coordinator()
        self.start_worker("a")
        self.run_quickly()
        before = most = resident_bytes(coordinator.pid)
        sent = 0
        for method in ("/ballast.v1.JobService/SubmitJob", "/ballast.v1.WorkerService/Connect"):
            stream = grpc_frames.BidiStream(coordinator.address, method)
            self.addCleanup(stream.close)
            sent = 0
            with contextlib.suppress(OSError):  # it is not heard to the end
                stream.send_bytes(struct.pack(">BI", 0, 1 << 30))
                while sent < 1 << 30:
                    stream.send_bytes(bytes(MIB))
                    sent += MIB
                    most = max(most, resident_bytes(coordinator.pid))
            print(f"\n{method}: {sent // MIB} of 1024 MiB were sent, {(most - before) // MIB} MiB more resident at most", file=sys.stderr)
            self.assertLess(most - before, 128 * MIB)
        self.run_quickly()

    def test_a_flood_of_pings_is_cut_off(self):
        self.start_coordinator()
        host, port = self.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=20) as flood:
            flood.sendall(grpc_frames.PREFACE + grpc_frames.frame(grpc_frames.SETTINGS, 0, 0))
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    flood.sendall(grpc_frames.frame(grpc_frames.PING, 0, 0, bytes(8)))
            received = b""
            with contextlib.suppress(OSError):
                while data := flood.recv(65536):
                    received += data
            self.assertIn(b"too_many_pings", received)
        self.assertEqual(self.ballast("devices", "list").code, 0)

    def test_a_device_does_what_its_configuration_allows_and_nothing_else(self):
        self.start_coordinator()
        with open(self.path("worker.yaml"), "w", encoding="ascii") as config:
            config.write("policy: {workloads: [pressure], max_pressure_percent: 60%, forbid_unguarded: true, max_run_time: 1m}\n")
        self.start_worker("kiosk", "", "--config", self.path("worker.yaml"))
        shown = self.ballast("devices", "show", "kiosk").out
        self.assertIn("policy.max_pressure_percent", shown)
        refusals = (
            (("simple", "--mode", "burst", "--target", "90%", "--device", "kiosk"), "policy.max_pressure_percent is 60% on this device; the job wants 90%"),
            (("simple", "--mode", "burst", "--target", "20%", "--duration", "1h", "--device", "kiosk"), "policy.max_run_time is 1m on this device"),
            (("simple", "--mode", "allocate_full", "--until", "oom", "--device", "kiosk"), "policy.forbid_unguarded is true on this device"),
            (("model", "--model-id", "tiny", "--device", "kiosk"), "policy.workloads is [pressure] on this device; the job wants model"),
        )
        for arguments, reason in refusals:
            result = self.ballast(*arguments, "--output", "json")
            self.assertEqual(result.code, 6, result.out + result.err)
            (entry,) = result.json["runs"]
            self.assertEqual(entry["run"]["outcome"]["kind"], "INVALID", entry["run"]["outcome"])
            self.assertIn(reason, entry["run"]["outcome"]["message"])
        self.run_quickly()

    def test_who_did_what(self):
        coordinator = self.start_coordinator()
        self.start_worker("a")
        ran = self.ballast(*QUICK, "--all", "--output", "json", environment={"USER": "kim"})
        job = ran.json["runs"][0]["run"]["job_id"]
        self.assertEqual(self.ballast("devices", "label", "a", "room=1").code, 0)
        self.assertEqual(self.ballast("devices", "drain", "b").code, 4)
        coordinator.kill()
        self.start_coordinator(listen=coordinator.address)
        listed = self.ballast("audit", "--output", "json").json["entries"]
        self.assertEqual(
            [(entry["action"], entry["subject"], entry["code"]) for entry in listed],
            [("DrainDevice", "b", "NOT_FOUND"), ("LabelDevice", "a", "OK"), ("SubmitJob", job, "OK")],
        )
        self.assertEqual(listed[-1]["name"], "kim")
        mine = self.ballast("audit", "--name", "kim", "--output", "csv")
        self.assertEqual(len(mine.out.splitlines()), 2, mine.out)
        first = self.ballast("audit", "--limit", "1")
        self.assertIn("DrainDevice", first.out)
        self.assertIn("there are more than 1", first.err)


if __name__ == "__main__":
    unittest.main()
