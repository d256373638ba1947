"""Networks and file systems of a test's own: namespaces that end with its processes, so that nothing can be left behind."""

import contextlib
import ctypes
import errno
import os
import shutil
import subprocess
import unittest

from fleet import wait_until

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _call(name, *arguments):
    if getattr(_libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def enter_mounts():
    """Gives this process, and all that it starts, mounts of its own. Skips the tests where that is not allowed."""
    try:
        _call("unshare", CLONE_NEWNS)
        _call("mount", b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)
    except OSError as error:
        raise unittest.SkipTest(f"no mount namespace: {error} (run as root)") from None


def enter_network():
    """Gives this process, and all that it starts, a network of its own with nothing but loopback. Skips the tests where that is not allowed."""
    for name in ("ip", "tc", "iptables", "nsenter", "unshare"):
        if shutil.which(name) is None:
            raise unittest.SkipTest(f"no program {name} (install iproute2, iptables and util-linux)")
    try:
        _call("unshare", CLONE_NEWNET)
        run("ip", "link", "set", "lo", "up")
    except OSError as error:
        raise unittest.SkipTest(f"no network namespace: {error} (run as root)") from None


class SmallDisk:
    """A file system of so many bytes at `path`, in the mounts of this process: ext4 in a file beside it where there are loop devices, else in memory."""

    def __init__(self, path, size_bytes):
        self.path = path
        os.makedirs(path, exist_ok=True)
        try:
            image = path + ".ext4"
            with open(image, "wb") as file:
                file.truncate(size_bytes)
            run("mkfs.ext4", "-q", "-m", "0", image)
            run("mount", "-o", "loop", image, path)
            self.kind = "ext4"
        except OSError as error:
            run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "ballast-test", path)
            self.kind = f"tmpfs ({error})"

    def fill(self):
        """Takes all the space that is left; `free` gives it back."""
        with open(os.path.join(self.path, "filler"), "ab", buffering=0) as filler:
            size = 1 << 20
            while size > 0:
                try:
                    filler.write(b"\0" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2
            with contextlib.suppress(OSError):
                os.fsync(filler.fileno())

    def free(self):
        os.unlink(os.path.join(self.path, "filler"))

    def unmount(self):
        run("umount", "--lazy", self.path)


class DeviceNetwork:
    """The network namespace of a device, and the one cable between it and this process's own.

    `enter` goes before a command that is to run on the device.
    """

    HERE = "10.77.0.1"
    DEVICE = "10.77.0.2"

    def __init__(self):
        # Lives as long as the namespace is wanted.
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "86400"])
        try:
            own = os.readlink("/proc/self/ns/net")
            wait_until(lambda: os.readlink(f"/proc/{self.holder.pid}/ns/net") != own, 10, "the device's network namespace")
            run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(self.holder.pid))
            self.enter = ["nsenter", "--target", str(self.holder.pid), "--net", "--"]
            for prefix, address in (([], self.HERE), (self.enter, self.DEVICE)):
                run(*prefix, "ip", "address", "add", address + "/24", "dev", "cable")
                run(*prefix, "ip", "link", "set", "lo", "up")
                run(*prefix, "ip", "link", "set", "cable", "up")
        except OSError as error:
            self.close()
            raise unittest.SkipTest(f"no cable between two network namespaces: {error}") from None

    def close(self):
        self.holder.kill()
        self.holder.wait(10)
        with contextlib.suppress(OSError):
            run("ip", "link", "delete", "cable")

    def pull(self):
        """Takes the cable out."""
        run("ip", "link", "set", "cable", "down")

    def plug(self):
        run("ip", "link", "set", "cable", "up")

    def drop(self, *match):
        """Loses the packets that match, in both directions, without a word to anybody. `restore` ends it."""
        for chain, side in (("INPUT", "--source"), ("OUTPUT", "--destination")):
            run("iptables", "--wait", "--append", chain, side, self.DEVICE, *match, "--jump", "DROP")

    def drop_connection(self, device_port):
        """Loses the packets of one connection: it is half-open from now on, whatever happens to either end."""
        for chain, side, port in (("INPUT", "--source", "--source-port"), ("OUTPUT", "--destination", "--destination-port")):
            run("iptables", "--wait", "--append", chain, side, self.DEVICE, "--protocol", "tcp", port, str(device_port), "--jump", "DROP")

    def restore(self):
        run("iptables", "--wait", "--flush")

    def limit(self, rate):
        """Limits both directions to a rate in words of tc, for instance `256kbit`."""
        for prefix in ([], self.enter):
            run(*prefix, "tc", "qdisc", "replace", "dev", "cable", "root", "tbf", "rate", rate, "burst", "16k", "latency", "400ms")

    def connections(self, port):
        """The device's ports of the established connections to a port here."""
        ports = []
        with open("/proc/net/tcp", encoding="ascii") as table:
            for line in list(table)[1:]:
                _, local, remote, state = line.split()[:4]
                if state == "01" and int(local.split(":")[1], 16) == port:
                    ports.append(int(remote.split(":")[1], 16))
        # A coordinator that listens on all addresses has them as IPv4 in IPv6.
        with contextlib.suppress(FileNotFoundError), open("/proc/net/tcp6", encoding="ascii") as table:
            for line in list(table)[1:]:
                _, local, remote, state = line.split()[:4]
                if state == "01" and int(local.split(":")[1], 16) == port:
                    ports.append(int(remote.split(":")[1], 16))
        return ports
