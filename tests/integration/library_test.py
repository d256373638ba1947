"""The installed library: the examples are built with nothing but its prefix, and run."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

BUILD_DIR = os.environ["BALLAST_BUILD_DIR"]
SOURCE_DIR = os.environ["BALLAST_SOURCE_DIR"]
FOUR = ("4GB连线", "极限2GB模式", "手机模拟", "老旧设备")


def run(*command, check=True, **options):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          encoding="utf-8", timeout=240, **options)  # fmt: skip
    if check and done.returncode != 0:
        raise AssertionError(f"{command} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


class LibraryTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="ballast-library-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        # Installed in one place and used in another: nothing may depend on the first.
        run("cmake", "--install", BUILD_DIR, "--component", "library", "--prefix", cls.directory / "installed")
        cls.prefix = cls.directory / "prefix"
        (cls.directory / "installed").rename(cls.prefix)
        # Both at once, as one project, to compile side by side; each is copied away from the sources, which it must not see.
        examples = cls.directory / "examples"
        for name in ("embed_memory", "simulate_environment"):
            shutil.copytree(pathlib.Path(SOURCE_DIR, "examples", name), examples / name)
        builds = {}
        for name in ("embed_memory", "simulate_environment"):
            build = cls.directory / f"build-{name}"
            run("cmake", "-S", examples / name, "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={cls.prefix}",
                "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")  # fmt: skip
            builds[name] = subprocess.Popen(["cmake", "--build", str(build)], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
        for name, process in builds.items():
            output, _ = process.communicate(timeout=240)
            if process.returncode != 0:
                raise AssertionError(f"{name} is not built:\n{output}")

    def program(self, name):
        return self.directory / f"build-{name}" / name

    def embed(self, *arguments):
        """Runs the embedding program; its output and its report."""
        report = self.directory / "report.json"
        # Private directories go where the test can look at them.
        scratch = self.directory / "tmp"
        scratch.mkdir(exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("BALLAST_")}
        done = run(self.program("embed_memory"), "--model", "tiny", "--report", report, *arguments, check=False,
                   env=dict(environment, TMPDIR=str(scratch)))  # fmt: skip
        self.assertEqual(list(scratch.iterdir()), [], "something is left")
        return done, json.loads(report.read_text(encoding="utf-8")) if done.returncode == 0 else None

    def test_the_report_has_the_three_fields(self):
        done, report = self.embed()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(report["trend"], ("STABLE", "RISING", "FALLING"))
        self.assertEqual(report["quantization"]["current_optimal"], "F16")
        self.assertEqual(report["environment"]["profile_name"], "")
        self.assertEqual(report["last_test"]["attempt"]["result"]["outcome"]["kind"], "COMPLETED")
        self.assertEqual(len(report["last_test"]["attempt"]["result"]["steps"]), 20)
        self.assertGreater(report["now"]["limit_bytes"], 0)
        self.assertEqual(report["last_optimisation"]["steps"][1]["name"], "thumbnails")
        self.assertGreater(report["last_optimisation"]["freed_bytes"], 8 << 20, "of 16 MiB")
        for line in ("trend: ", "quantization.current_optimal: F16", "environment.profile_name: "):
            self.assertIn(line, done.stdout)
        self.assertEqual(done.stdout.count("\n"), 5, "nothing but what the program itself prints")

    def test_a_profile_of_the_original_is_the_environment_of_the_test(self):
        done, report = self.embed("--profile", "2gb-noswap")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(report["environment"]["profile_name"], "极限2GB模式")
        outcome = report["last_test"]["attempt"]["result"]["outcome"]
        if outcome["kind"] == "ENVIRONMENT_REFUSED":
            self.skipTest(outcome["message"])
        self.assertEqual(outcome["kind"], "COMPLETED", outcome["message"])
        self.assertEqual(report["environment"]["applied"]["memory_bytes"], report["environment"]["profile"]["memory_bytes"])
        self.assertEqual(report["last_test"]["attempt"]["result"]["limit_bytes"], report["environment"]["profile"]["memory_bytes"])

    def test_an_unknown_profile_names_the_nearest(self):
        done, _ = self.embed("--profile", "2gb-noswop")
        self.assertEqual(done.returncode, 1)
        self.assertIn("2gb-noswap", done.stderr)

    def test_nothing_of_grpc_is_linked(self):
        for name in ("embed_memory", "simulate_environment"):
            libraries = run("ldd", self.program(name)).stdout
            self.assertIn("libprotobuf", libraries)
            for word in ("grpc", "sqlite", "not found"):
                self.assertNotIn(word, libraries, name)
        self.assertNotIn("grpc", run("ldd", self.prefix / "libexec/ballast/ballast-runner", check=False).stdout)

    def test_the_prefix_names_no_place(self):
        places = [os.fsencode(place) for place in (BUILD_DIR, SOURCE_DIR, self.directory / "installed")]
        count = 0
        for path in self.prefix.rglob("*"):
            if path.suffix not in (".cmake", ".h"):
                continue
            count += 1
            content = path.read_bytes()
            for place in places:
                self.assertNotIn(place, content, path)
        self.assertGreater(count, 10)

    def test_the_simulator_lists_writes_and_runs(self):
        program = self.program("simulate_environment")
        listed = run(program, env=dict(os.environ, LANG="C", LC_ALL="C")).stdout
        for name in FOUR:
            self.assertIn(name, listed)
        script = self.directory / "test.sh"
        runner = self.prefix / "libexec/ballast/ballast-runner"
        self.assertTrue(os.access(runner, os.X_OK))
        done = run(program, "极限2GB模式", script, "sh", "-c", "exit 7")
        self.assertIn("docker run ", done.stdout)
        self.assertIn("sh -c 'ballast simple --mode burst'", done.stdout)
        self.assertTrue(os.access(script, os.X_OK))
        run("sh", "-n", script)
        last = done.stdout.splitlines()[-1]
        if not last.startswith("ENVIRONMENT_REFUSED"):
            self.assertEqual(last, "COMMAND_FAILED: sh exited with 7")


if __name__ == "__main__":
    unittest.main()
