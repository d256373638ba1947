"""A virtual machine as a small device: QEMU without hardware virtualisation, so that it runs the same everywhere.

The machine has a kernel of its own with all that a device has and a container lacks: its own memory, swap, OOM killer, cgroups of
version 2, pressure stall information and all capabilities. It is about four times slower than its host: limits of time are generous,
and speed is not measured in it.
"""

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time

from kernel import Kernel

GUEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.environ.get("BALLAST_KERNEL_CACHE", os.path.join(ROOT, "build", "device", "kernel"))
# Drivers of the machine's own devices, and zram with the algorithms that devices use.
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4", "lzo", "lzo_rle", "lz4", "zstd", "zram")
BOOT_TIMEOUT_S = 180
COMMAND_TIMEOUT_S = 180
MIB = 1 << 20
OS_RELEASE = 'NAME="Ballast test device"\nID=ballast-test-device\nPRETTY_NAME="Ballast test device"\n'


# How `stat` is to print the time of a file's change, which is to the kernel's tick: the shell has no clock finer than a second.
_FILE_TIME = "%Y %y"


def _file_time_s(text):
    seconds, local = text.split(" ", 1)
    return int(seconds) + float("0." + local.split(".")[1].split()[0])


def kernel_log_time_s(line):
    """The time in seconds that stands before a message of the kernel's log."""
    return float(line[1 : line.index("]")])


class GuestCommand:
    """What a command in the machine left."""

    def __init__(self, code, out):
        self.code = code
        self.out = out


class CommandFailed(AssertionError):
    pass


class VirtualMachine:
    """One machine and its disks, in a directory. It can be cut off from power and booted again; the disk stays."""

    def __init__(self, directory, memory_mib, swap_mib=0, zram_mib=0, disk_mib=2048, programs=None, kernel_arguments=""):
        """`programs` are for the machine's /bin: names, and the static programs they stand for. `kernel_arguments` come after the usual ones."""
        for tool in ("qemu-system-x86_64", "busybox", "mkfs.ext4", "apt-get", "dpkg-deb"):
            if not shutil.which(tool):
                raise FileNotFoundError(f"a test device needs {tool}; try: deploy/install-dependencies.sh --device")
        self.directory = directory
        self.memory_mib = memory_mib
        self.boots = 0
        self._swap_mib = swap_mib
        self._zram_mib = zram_mib
        self._kernel_arguments = kernel_arguments
        self._process = None
        self._commands = None
        self._received = b""
        self._numbers = 0
        self._kernel = Kernel.fetch(CACHE)
        os.makedirs(directory, exist_ok=True)
        self._pack_early_userspace()
        self._make_disk(disk_mib, programs or {})
        if swap_mib:
            self._make_image("swap.img", swap_mib)

    # ---- power

    def boot(self):
        """Starts the machine and waits until it takes commands."""
        assert self._process is None, "the machine is running"
        self.boots += 1
        ours, theirs = socket.socketpair()
        arguments = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"]
        # Without the string instructions that a real processor carries out in long words, and this one byte by byte.
        arguments += ["-M", "q35", "-cpu", "max,-erms,-fsrm", "-accel", "tcg,thread=multi", "-smp", "2", "-m", str(self.memory_mib)]
        arguments += ["-nodefaults", "-display", "none", "-no-reboot"]
        arguments += ["-kernel", self._kernel.image, "-initrd", self._path("early.cpio")]
        arguments += ["-append", f"console=ttyS0 quiet panic=-1 {self._kernel_arguments}".rstrip()]
        arguments += ["-chardev", f"file,id=console,path={self.console_path}", "-serial", "chardev:console"]
        arguments += ["-chardev", f"socket,id=commands,fd={theirs.fileno()}", "-serial", "chardev:commands"]
        arguments += ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]
        # What the machine was told is on its disk is in the host's file, whenever the power goes. Its swap need not outlive it.
        arguments += ["-drive", f"file={self._path('disk.img')},if=virtio,format=raw,cache=writeback"]
        if self._swap_mib:
            arguments += ["-drive", f"file={self._path('swap.img')},if=virtio,format=raw,cache=unsafe"]
        with theirs, open(self._path("qemu.log"), "ab") as log:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[theirs.fileno()]
            )
        self._commands, self._received = ours, b""
        self._receive_line(lambda line: line == "device ready", BOOT_TIMEOUT_S, "the machine to boot")
        # The first that is switched on is the first to be used.
        if self._zram_mib:
            self.run(f"echo {self._zram_mib}M >/sys/block/zram0/disksize; mkswap /dev/zram0 >/dev/null && swapon /dev/zram0")
        if self._swap_mib:
            self.run("mkswap /dev/vdb >/dev/null && swapon /dev/vdb")

    def cut_power(self):
        """The machine stops at once, with whatever it had not written. Returns the time just before, by the host's wall clock."""
        now = time.time()
        self._process.kill()
        self._process.wait(10)
        self._forget()
        return now

    def close(self):
        """Ends the machine however it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._forget()

    @property
    def running(self):
        return self._process is not None and self._process.poll() is None

    # ---- commands

    def run(self, command, timeout_s=COMMAND_TIMEOUT_S):
        """Runs shell text as root in the machine, waits for its end and returns its output. CommandFailed on a non-zero exit code."""
        result = self.try_run(command, timeout_s)
        if result.code != 0:
            raise CommandFailed(f"exit code {result.code} in the machine from: {command}\n{result.out}")
        return result.out

    def try_run(self, command, timeout_s=COMMAND_TIMEOUT_S):
        """The same, and the exit code is the caller's to judge."""
        self._numbers += 1
        number = self._numbers
        self._commands.sendall(f"{number} {base64.b64encode(command.encode()).decode()}\n".encode())
        lead = f"@done {number} "
        lines = self._receive_line(lambda line: line.startswith(lead), timeout_s, f"the end of: {command}")
        return GuestCommand(int(lines[-1].removeprefix(lead)), "\n".join(lines[:-1]).rstrip("\n"))

    def run_timed(self, command):
        """Runs shell text and returns when it began, by the machine's wall clock."""
        return _file_time_s(self.run(f"touch /run/began; {command}; stat -c '{_FILE_TIME}' /run/began").splitlines()[-1])

    def clock_offset_s(self):
        """How far the machine's wall clock is ahead of the host's, and by how much that may be wrong."""
        before = time.time()
        now = self.run_timed(":")
        after = time.time()
        return now - (before + after) / 2, (after - before) / 2

    def kernel_log_offset_s(self):
        """What to add to a time of the kernel's log to have the machine's wall clock's, and by how much that may be wrong."""
        mark = f"mark {time.monotonic_ns()}"
        before, after, line = self.run(
            f"touch /run/before; echo {mark} >/dev/kmsg; touch /run/after; "
            f"stat -c '{_FILE_TIME}' /run/before /run/after; dmesg | grep '{mark}'"
        ).splitlines()
        before, after = _file_time_s(before), _file_time_s(after)
        return (before + after) / 2 - kernel_log_time_s(line), (after - before) / 2

    # ---- what it said

    @property
    def console_path(self):
        return self._path(f"console.{self.boots}.log")

    def console(self):
        with contextlib.suppress(OSError), open(self.console_path, encoding="utf-8", errors="replace") as console:
            return console.read()
        return ""

    def kernel_log(self):
        return self.run("dmesg")

    # ---- inside

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _forget(self):
        self._process = None
        self._commands.close()

    def _receive_line(self, is_last, timeout_s, what):
        """Lines from the machine up to the one wanted."""
        lines = []
        deadline = time.monotonic() + timeout_s
        while True:
            line, newline, rest = self._received.partition(b"\n")
            if newline:
                self._received = rest
                lines.append(line.decode(errors="replace").rstrip("\r"))
                if is_last(lines[-1]):
                    return lines
                continue
            self._commands.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._commands.recv(65536)
            except TimeoutError:
                raise AssertionError(f"not within {timeout_s} s: {what}\n{self._last_words()}") from None
            if not data:
                raise AssertionError(f"the machine ended while waiting for {what}\n{self._last_words()}")
            self._received += data

    def _last_words(self):
        with open(self._path("qemu.log"), encoding="utf-8", errors="replace") as log:
            return log.read() + "\n".join(self.console().splitlines()[-60:])

    def _pack_early_userspace(self):
        """The archive that the kernel starts from: a shell, the modules in their order, and a script."""
        with tempfile.TemporaryDirectory(dir=self.directory) as tree:
            for directory in ("bin", "modules"):
                os.mkdir(os.path.join(tree, directory))
            shutil.copy(shutil.which("busybox"), os.path.join(tree, "bin", "busybox"))
            shutil.copy(os.path.join(GUEST, "early_init"), os.path.join(tree, "init"))
            modules = self._kernel.modules(MODULES)
            for name, path in modules:
                shutil.copy(path, os.path.join(tree, "modules", name))
            with open(os.path.join(tree, "modules", "order"), "w", encoding="ascii") as order:
                order.writelines(name + "\n" for name, _ in modules)
            names = sorted(
                os.path.relpath(os.path.join(path, name), tree)
                for path, directories, files in os.walk(tree)
                for name in directories + files
            )
            with open(self._path("early.cpio"), "wb") as archive:
                subprocess.run(
                    ["busybox", "cpio", "-o", "-H", "newc"],
                    input="".join(name + "\n" for name in names).encode(),
                    stdout=archive,
                    stderr=subprocess.DEVNULL,
                    cwd=tree,
                    check=True,
                )

    def _make_disk(self, size_mib, programs):
        with tempfile.TemporaryDirectory(dir=self.directory) as tree:
            for directory in ("bin", "sbin", "etc", "proc", "sys", "dev", "run", "tmp", "var/lib", "var/log"):
                os.makedirs(os.path.join(tree, directory))
            shutil.copy(shutil.which("busybox"), os.path.join(tree, "bin", "busybox"))
            for applet in subprocess.run(["busybox", "--list"], stdout=subprocess.PIPE, check=True).stdout.decode().split():
                if applet not in ("busybox", "init"):
                    os.symlink("busybox", os.path.join(tree, "bin", applet))
            shutil.copy(os.path.join(GUEST, "init"), os.path.join(tree, "sbin", "init"))
            for name, path in programs.items():
                shutil.copy(path, os.path.join(tree, "bin", name))
            with open(os.path.join(tree, "etc", "os-release"), "w", encoding="ascii") as release:
                release.write(OS_RELEASE)
            image = self._make_image("disk.img", size_mib)
            subprocess.run(["mkfs.ext4", "-q", "-F", "-N", "8192", "-E", "root_owner=0:0", "-d", tree, image], check=True)

    def _make_image(self, name, size_mib):
        """An empty disk, which takes room only where it is written."""
        with open(self._path(name), "wb") as image:
            image.truncate(size_mib * MIB)
        return self._path(name)
