"""Models on their way: pushed to a coordinator, fetched by workers, over kills of either side.

The file is small; BALLAST_TEST_MODEL=SHAPE:LEVEL takes another, for instance qwen2.5-1.5b:Q2_K with 670 MB.
"""

import hashlib
import os
import re
import signal
import subprocess
import threading
import unittest

from fleet import FleetTest, MIB, Program, process_exists, program, wait_until

SHAPE, LEVEL = os.environ.get("BALLAST_TEST_MODEL", "tiny:F16").split(":")
# What the kernel and gRPC may hold on its way to a worker that is killed.
IN_FLIGHT = 64 * MIB


def digest_of(path):
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(MIB):
            sha256.update(piece)
    return sha256.hexdigest()


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] in "tT"


class ModelsTest(FleetTest):
    def make_model(self, name="model.gguf", seed=1, shape=SHAPE, level=LEVEL):
        path = self.path(name)
        flags = ["--shape", shape, "--quant", level, "--seed", str(seed), "--file", path]
        self.assertEqual(self.ballast("models", "create", *flags, timeout_s=600).code, 0)
        return path

    def push(self, path, model_id="mine", *flags):
        result = self.ballast("models", "push", path, "--model-id", model_id, "--output", "json", *flags, timeout_s=300)
        self.assertEqual(result.code, 0, result.err)
        return result.json

    def fetch(self, name, path, stop_at=0):
        """Starts a worker's cache that fetches the file, and stops itself at a byte where one is given."""
        arguments = [program("model_fetch"), self.address, self.path(name), digest_of(path), str(os.path.getsize(path))]
        fetcher = Program(arguments + ([str(stop_at)] if stop_at else []), self.path(name) + ".log", stdout=subprocess.PIPE)
        self.addCleanup(fetcher.close)
        if stop_at:
            wait_until(lambda: is_stopped(fetcher.pid), 60, "the fetch to stop in the middle")
        return fetcher

    def finish(self, fetcher, timeout_s=120):
        out, _ = fetcher.process.communicate(timeout=timeout_s)
        self.assertEqual(fetcher.process.returncode, 0, fetcher.log())
        return out.decode().split(maxsplit=1)

    def sent(self, coordinator):
        """(first byte, bytes) of each fetch that the coordinator served."""
        found = re.findall(r"sent (\d+) bytes from (\d+) on to", coordinator.log())
        return [(int(first), int(count)) for count, first in found]

    def test_two_workers_and_one_killed_in_mid_fetch(self):
        coordinator = self.start_coordinator()
        path = self.make_model()
        size = os.path.getsize(path)
        entry = self.push(path)
        self.assertEqual(entry["sha256"], digest_of(path))

        steady = self.fetch("steady", path)
        killed = self.fetch("killed", path, stop_at=size // 2)
        source, steady_path = self.finish(steady)
        self.assertEqual(source, "fetched")
        killed.kill()
        again = self.fetch("killed", path)
        source, killed_path = self.finish(again)
        self.assertEqual(source, "fetched")
        for fetched in (steady_path.strip(), killed_path.strip()):
            self.assertEqual(digest_of(fetched), entry["sha256"])

        # The third time nothing is fetched: it is there.
        self.assertEqual(self.finish(self.fetch("killed", path))[0], "present")
        wait_until(lambda: len(self.sent(coordinator)) == 3, 10, "the word of three fetches")
        resumed = [(first, count) for first, count in self.sent(coordinator) if first > 0]
        self.assertEqual(len(resumed), 1, "the killed one went on in the middle")
        self.assertGreaterEqual(resumed[0][0], size // 2)
        self.assertEqual(resumed[0][0] + resumed[0][1], size)
        self.assertLessEqual(sum(count for _, count in self.sent(coordinator)), 2 * size + IN_FLIGHT)

    def test_a_coordinator_killed_in_mid_fetch(self):
        coordinator = self.start_coordinator()
        # So large that half of it is not in the connection's buffers already.
        path = self.make_model(shape="qwen2.5-0.5b", level="Q2_K")
        size = os.path.getsize(path)
        self.push(path)
        fetcher = self.fetch("worker", path, stop_at=size // 2)
        coordinator.kill()
        os.kill(fetcher.pid, signal.SIGCONT)
        wait_until(lambda: "trying again until it is there" in fetcher.log(), 20, "the fetch to notice")
        self.assertTrue(process_exists(fetcher.pid), "it waits")
        again = self.start_coordinator(listen=coordinator.address)
        source, fetched = self.finish(fetcher)
        self.assertEqual(source, "fetched")
        self.assertEqual(digest_of(fetched.strip()), digest_of(path))
        self.assertGreaterEqual(self.sent(again)[0][0], size // 2, "it went on in the middle")

    def test_a_job_on_two_devices_of_which_one_is_killed_in_mid_fetch(self):
        coordinator = self.start_coordinator()
        shape, level = (SHAPE, LEVEL) if SHAPE != "tiny" else ("qwen2.5-0.5b", "Q2_K")
        path = self.make_model(shape=shape, level=level)
        size, digest = os.path.getsize(path), digest_of(path)
        self.push(path)
        steady = self.start_worker("steady")
        killed = self.start_worker("killed")
        with open(self.path("job.yaml"), "w", encoding="ascii") as text:
            text.write(f"{{workload: {{model: {{load: {{model_id: mine, quant: {level}, passes: 1}}}}}}, "
                       "devices: {all: true}, policy: {max_attempts: 2}}")  # fmt: skip
        job_id = self.submit("submit", self.path("job.yaml"))
        partial = os.path.join(killed.directory, "models", digest + ".gguf.partial")
        wait_until(lambda: os.path.exists(partial) and os.path.getsize(partial) >= size // 20, 60, "the fetch to be under way")
        killed.kill()
        self.assertTrue(os.path.exists(partial), "it was killed in the middle")
        self.start_worker("killed")
        report = self.watch(job_id, timeout_s=120)
        for run in (entry["run"] for entry in report["runs"]):
            self.assertEqual(run["outcome"]["kind"], "COMPLETED", run["outcome"])
            load = run["attempts"][-1]["result"]["loads"][0]
            self.assertEqual((load["file_source"], load["file_bytes"]), ("fetched", size))
        for worker in (steady, killed):
            self.assertEqual(digest_of(os.path.join(worker.directory, "models", digest + ".gguf")), digest)
        # The next job finds what the first one brought.
        again = self.watch(self.submit("submit", self.path("job.yaml")), timeout_s=60)
        self.assertEqual([e["run"]["attempts"][-1]["result"]["loads"][0]["file_source"] for e in again["runs"]], ["present"] * 2)
        self.assertEqual(len(self.sent(coordinator)), 3)
        resumed = [(first, count) for first, count in self.sent(coordinator) if first > 0]
        self.assertEqual([first + count for first, count in resumed], [size], "the killed one went on in the middle")
        self.assertLessEqual(sum(count for _, count in self.sent(coordinator)), 2 * size + IN_FLIGHT)

    def test_on_one_machine_the_coordinators_file_is_used_where_it_lies(self):
        self.start_coordinator(listen="unix:" + self.path("socket"))
        path = self.make_model()
        entry = self.push(path)
        source, used = self.finish(self.fetch("worker", path))
        self.assertEqual((source, used.strip()), ("present", entry["path"]))
        self.assertEqual(os.listdir(self.path("worker")), [])

    def test_a_push_that_is_interrupted_goes_on(self):
        coordinator = self.start_coordinator()
        path = self.make_model()
        size = os.path.getsize(path)
        # As a push leaves it that was killed.
        stored = os.path.join(coordinator.directory, "models", digest_of(path) + ".gguf")
        with open(path, "rb") as source, open(stored + ".partial", "wb") as partial:
            partial.write(source.read(size // 2))
        coordinator.kill()
        self.start_coordinator(listen=coordinator.address)
        self.push(path)
        self.assertEqual(digest_of(stored), digest_of(path))
        self.assertFalse(os.path.exists(stored + ".partial"))

    def test_a_push_to_a_coordinator_that_hardly_gets_the_processor(self):
        """What the coordinator allows a stream to send while it does not read fits into the memory it has for that."""
        coordinator = self.start_coordinator()
        path = self.make_model(shape="qwen2.5-0.5b", level="Q2_K")
        over = threading.Event()

        def starve():
            stopped = True
            while not over.wait(0.4 if stopped else 0.03):
                stopped = not stopped
                os.kill(coordinator.pid, signal.SIGSTOP if stopped else signal.SIGCONT)

        os.kill(coordinator.pid, signal.SIGSTOP)
        starving = threading.Thread(target=starve)
        starving.start()
        try:
            pushed = self.ballast("models", "push", path, "--model-id", "mine", timeout_s=120)
        finally:
            over.set()
            starving.join()
            os.kill(coordinator.pid, signal.SIGCONT)
        self.assertEqual(pushed.code, 0, pushed.err)
        self.assertNotIn("trying again", pushed.err)
        self.assertEqual(digest_of(os.path.join(coordinator.directory, "models", digest_of(path) + ".gguf")), digest_of(path))

    def test_what_is_no_model_is_refused(self):
        self.start_coordinator()
        with open(self.path("text.gguf"), "w", encoding="ascii") as text:
            text.write("no model")
        path = self.make_model()
        with open(path, "rb") as source, open(self.path("half.gguf"), "wb") as half:
            half.write(source.read(os.path.getsize(path) // 2))
        for name in ("text.gguf", "half.gguf", "none.gguf"):
            result = self.ballast("models", "push", self.path(name), "--model-id", "mine")
            self.assertEqual(result.code, 2, result.err)
            self.assertIn(name, result.err)
            self.assertIn("  try: ", result.err)
        listed = self.ballast("models", "list", "mine")
        self.assertEqual(listed.code, 4, listed.err)

    def test_list_and_remove(self):
        self.start_coordinator()
        listed = self.ballast("models", "list", "--output", "json").json["entries"]
        self.assertIn(("tiny", "Q4_K_M"), [(entry["model_id"], entry["quant"]) for entry in listed])
        self.push(self.make_model())
        self.push(self.make_model("other.gguf", seed=2), "tiny", "--quant", "Q2_K")
        tiny = {e["quant"]: e for e in self.ballast("models", "list", "tiny", "--output", "json").json["entries"]}
        self.assertEqual(tiny["Q2_K"]["source"], "pushed")
        self.assertEqual(tiny["Q4_K_M"]["source"], "synthetic")
        for model_id, quant, code, hint in (("mne", LEVEL, 4, "mine"), ("mine", "Q2", 4, LEVEL), ("tiny", "Q4_K_M", 6, "catalogue")):
            result = self.ballast("models", "remove", "--model-id", model_id, "--quant", quant)
            self.assertEqual(result.code, code, result.err)
            self.assertIn(hint, result.err)
        self.assertEqual(self.ballast("models", "remove", "--model-id", "tiny", "--quant", "Q2_K").code, 0)
        self.assertEqual(self.ballast("models", "remove", "--model-id", "mine", "--quant", LEVEL).code, 0)
        self.assertEqual(self.ballast("models", "list", "mine").code, 4)

    def test_a_job_for_a_model_that_is_not_there(self):
        self.start_coordinator()
        self.start_worker("a")
        job = self.path("job.yaml")
        for model_id, quant, hint in (("tinny", "Q4_0", "'tiny'"), ("tiny", "Q4_1", "Q4_0")):
            with open(job, "w", encoding="ascii") as text:
                text.write(f"workload: {{model: {{load: {{model_id: {model_id}, quant: {quant}}}}}}}\n")
            result = self.ballast("submit", job, "--detach")
            self.assertEqual(result.code, 4, result.err)
            self.assertIn(hint, result.err)

    def test_the_users_catalogue_in_local_mode(self):
        catalogue = self.path("config/ballast/models.yaml")
        os.makedirs(os.path.dirname(catalogue))
        with open(catalogue, "w", encoding="ascii") as text:
            text.write("models:\n  - model_id: mine\n    levels: [{quant: Q, file: {path: model.gguf}}]\n")
        os.rename(self.make_model(), os.path.join(os.path.dirname(catalogue), "model.gguf"))
        entries = self.ballast("models", "list", "mine", "--output", "json").json["entries"]
        self.assertEqual(entries[0]["path"], os.path.join(os.path.dirname(catalogue), "model.gguf"))
        with open(catalogue, "w", encoding="ascii") as text:
            text.write("models:\n  - modelid: mine\n")
        result = self.ballast("models", "list")
        self.assertEqual(result.code, 2, result.err)
        self.assertIn("models.yaml:2:5", result.err)

    def test_a_catalogue_that_is_wrong_stops_the_coordinator(self):
        with open(self.path("models.yaml"), "w", encoding="ascii") as text:
            text.write("models: [{model_id: a, levels: [{quant: Q}]}]\n")
        arguments = ["--listen", "127.0.0.1:0", "--data-dir", self.path("c"), "--models", self.path("models.yaml")]
        completed = subprocess.run([program("ballast-coordinator"), *arguments], stderr=subprocess.PIPE, timeout=20, check=False)
        self.assertEqual(completed.returncode, 2, completed.stderr)
        self.assertIn("models.yaml:1:", completed.stderr.decode())


if __name__ == "__main__":
    unittest.main()
