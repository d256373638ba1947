"""The load generator (bench_fleet_load) as a program that is told what to do."""

import json
import resource
import subprocess


def raise_file_limit():
    """Every connection takes a descriptor."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Generator:
    """One process with a part of the fleet."""

    def __init__(self, program, address, workers, first, pki=None):
        command = [program, address, str(workers), str(first), *([pki] if pki else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a generator ended ({self.process.wait(10)})")
        answer = json.loads(line)
        if answer.get("error") or answer.get("problem"):
            raise RuntimeError(answer.get("error") or answer.get("problem"))
        return answer

    def close(self):
        """Repeatable."""
        if self.process.stdin.closed:
            return
        try:
            self.process.communicate("quit\n", timeout=120)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()
            self.process.wait(10)
