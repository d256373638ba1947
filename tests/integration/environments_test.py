"""Environment profiles by all of their names, the generated scripts, and what is made from the same profiles."""

import os
import re
import shutil
import subprocess
import unittest

from batch import Batch, program_arguments
from fleet import FleetTest, MIB, ROOT, program

ALIASES = {"4GB连线": "4gb-swap", "极限2GB模式": "2gb-noswap", "手机模拟": "phone-3gb", "老旧设备": "old-2.5gb"}
# A terminal whose locale knows ASCII alone.
ASCII = {"LANG": "C", "LC_ALL": "C"}


class EnvironmentsTest(FleetTest):
    def profiles(self):
        listed = self.ballast("env", "list", "--output", "json")
        self.assertEqual(listed.code, 0, listed.err)
        return {profile["name"]: profile for profile in listed.json["environments"]}

    def create_scripts(self):
        result = self.ballast("env", "create-scripts", "--output-dir", self.path("scripts"), environment=ASCII)
        self.assertEqual(result.code, 0, result.err)
        return [os.path.join(self.directory, path) for path in result.out.split()]

    def test_every_name_is_taken_everywhere_also_in_an_ascii_locale(self):
        self.start_coordinator()
        job = self.path("job.yaml")
        for name, alias in ALIASES.items():
            for given in (name, alias, alias.upper()):
                shown = self.ballast("env", "show", given, "--output", "json", environment=ASCII)
                self.assertEqual((shown.code, shown.json["name"]), (0, name), shown.err)
                command = self.ballast("env", "show-docker", given, environment=ASCII)
                self.assertEqual(command.code, 0, command.err)
                # Without a device every submission is refused, but the name has been understood by then.
                for arguments in (("simple", "--mode", "burst"), ("model", "--model-id", "tiny"),
                                  ("quantization", "--model-id", "tiny"), ("stability", "--hours", "0.01")):
                    refused = self.ballast(*arguments, "--env", given, "--all", environment=ASCII)
                    self.assertEqual(refused.code, 6, (arguments, given, refused.err))
                with open(job, "w", encoding="utf-8") as file:
                    file.write(f"environment: {given}\nworkload: {{pressure: {{burst: {{}}}}}}\ndevices: {{all: true}}\n")
                self.assertEqual(self.ballast("submit", job, environment=ASCII).code, 6)

    def test_a_name_that_nobody_knows(self):
        self.start_coordinator()
        for arguments in (("simple", "--mode", "burst"), ("model", "--model-id", "tiny")):
            result = self.ballast(*arguments, "--env", "2gb-noswp", "--all")
            self.assertEqual(result.code, 4, result.err)
            self.assertIn("there is no environment profile '2gb-noswp'; did you mean '2gb-noswap'?", result.err)
            self.assertIn("try: ballast env list", result.err)

    def test_the_coordinators_own_profiles(self):
        profiles = self.path("environments.yaml")
        with open(profiles, "w", encoding="utf-8") as file:
            file.write("environments: [{name: lab, memory_bytes: 64MiB}]\n")
        self.start_coordinator("--environments", profiles)
        self.assertEqual(self.ballast("simple", "--mode", "burst", "--env", "lab", "--all").code, 6)
        self.assertEqual(self.ballast("simple", "--mode", "burst", "--env", "lap", "--all").code, 4)

    @unittest.skipUnless(shutil.which("shellcheck"), "there is no shellcheck")
    def test_the_shell_scripts_pass_shellcheck(self):
        scripts = [path for path in self.create_scripts() if path.endswith(".sh")]
        self.assertEqual(len(scripts), 5)
        for path in scripts:
            checked = subprocess.run(["shellcheck", path], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(checked.returncode, 0, checked.stdout)
            self.assertTrue(os.access(path, os.X_OK), path)

    def test_a_shell_script_runs_a_test_on_a_fleet(self):
        self.start_coordinator()
        self.start_worker("d-1")
        self.create_scripts()
        device = self.ballast("devices", "show", "d-1", "--output", "json").json
        env = dict(os.environ, BALLAST=program("ballast"), BALLAST_COORDINATOR=self.address, XDG_CONFIG_HOME=self.path("config"),
                   **ASCII)
        completed = subprocess.run(
            [self.path("scripts/run_memory_env_test.sh"), "--environment", "极限2GB模式", "--mode", "staircase", "--duration", "2",
             "--step-size", "16", "--baseline", "0", "--recovery", "0", "--output", "json"],
            env=env, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)
        if "ENVIRONMENT_PROFILES" not in device["facts"]["capabilities"]:
            self.assertEqual(completed.returncode, 6, completed.stderr)
            self.skipTest("the device does not apply profiles; the script has asked for it")
        self.assertIn(completed.returncode, (0, 6), completed.stderr)
        self.assertIn('"environment": "极限2GB模式"', completed.stdout)

    def run_batch(self, name, line="", **variables):
        """(exit code, docker's calls as lists, what was said on standard error). `line` is what is typed behind the name."""
        with open(self.path("scripts/" + name), encoding="utf-8", newline="") as file:
            text = file.read()
        calls = []

        def docker(line):
            calls.append(program_arguments(line))
            return 3

        programs = {"chcp": lambda line: 0, "where": lambda line: 0 if line == "docker" else 1, "docker": docker}
        batch = Batch(text, line, programs, variables)
        return batch.run(), calls, batch.err

    def in_container(self, call, image="ballast"):
        """(docker's own arguments, those that `ballast` gets in the container), where the image's shell is this machine's."""
        at = call.index(image)
        bin_directory = self.path("bin")
        os.makedirs(bin_directory, exist_ok=True)
        with open(os.path.join(bin_directory, "ballast"), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
        os.chmod(os.path.join(bin_directory, "ballast"), 0o755)
        said = subprocess.run(call[at + 1:], env={"PATH": bin_directory + ":/usr/bin:/bin"}, cwd=self.directory,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True)
        return call[:at], said.stdout.splitlines()

    def test_the_batch_scripts_call_docker_with_the_limits(self):
        self.create_scripts()
        for name, profile in self.profiles().items():
            shown = self.ballast("env", "show-docker", name, "--shell", "bat")
            flags = shown.out.split(" run --rm ")[1].split(" ballast")[0].split()
            wanted = ["run", "--rm", *flags, "--volume", "C:\\here\\logs:/srv/logs"]
            for given in (name, ALIASES[name], ALIASES[name].upper()):
                code, calls, _ = self.run_batch("run_memory_env_test.bat", f'--environment "{given}" --mode burst --target 70')
                self.assertEqual((code, len(calls)), (3, 1), given)
                self.assertEqual(self.in_container(calls[0]), (wanted, ["simple", "--mode", "burst", "--target", "70"]), given)
            code, calls, _ = self.run_batch(f"test_{ALIASES[name]}.bat", "--mode staircase --duration 60")
            self.assertEqual(code, 3)
            self.assertEqual(self.in_container(calls[0]), (wanted, ["simple", "--mode", "staircase", "--duration", "60"]))
            self.assertEqual(profile["memory_bytes"] // MIB, int(re.search(r"--memory=(\d+)m", shown.out).group(1)))
        _, calls, _ = self.run_batch("test_2gb-noswap.bat", BALLAST_IMAGE="mine:2")
        self.assertEqual(self.in_container(calls[0], "mine:2")[1], ["simple"])

    def test_the_batch_scripts_leave_every_argument_as_it_is(self):
        self.create_scripts()
        line = ('--psi some=20 --annotate build=1.4.2 --on class=mini-pc,site=lab --set a;b "--annotate=note=a b, c" '
                '--target=70% --expect OOM_*')
        given = ["--psi", "some=20", "--annotate", "build=1.4.2", "--on", "class=mini-pc,site=lab", "--set", "a;b",
                 "--annotate=note=a b, c", "--target=70%", "--expect", "OOM_*"]
        self.assertEqual(program_arguments(line), given)
        for written in (f"--environment 2gb-noswap {line}", f"{line} --env 2gb-noswap", f"{line} --environment=2gb-noswap",
                        f'--env="2gb-noswap" {line}'):
            code, calls, err = self.run_batch("run_memory_env_test.bat", written)
            self.assertEqual((code, err), (3, []), written)
            docker, arguments = self.in_container(calls[0])
            self.assertIn("--memory=2048m", docker)
            self.assertEqual(arguments, ["simple", *given], written)

    def test_a_profile_that_limits_a_disk_keeps_no_script_from_being_written(self):
        profiles = self.path("disk.yaml")
        with open(profiles, "w", encoding="utf-8") as file:
            file.write("environments: [{name: slow, memory_bytes: 64MiB, io_read_bytes_per_second: 1MiB}]\n")
        arguments = ("env", "create-scripts", "--env-file", profiles, "--output-dir", self.path("scripts"))
        result = self.ballast(*arguments)
        self.assertEqual((result.code, len(result.out.split())), (0, 12), result.err)
        code, calls, err = self.run_batch("run_memory_env_test.bat", "--environment slow")
        self.assertEqual((code, calls), (2, []))
        self.assertIn("limits the speed of a disk", err[0])
        self.assertEqual(self.run_batch("run_memory_env_test.bat", "--environment 2gb-noswap")[0], 3)
        _, calls, _ = self.run_batch("test_slow.bat", BALLAST_IO_DEVICE="/dev/sdb")
        self.assertIn("--device-read-bps=/dev/sdb:1048576", calls[0])
        self.assertEqual(self.ballast(*arguments, "--io-device", "/dev/sdc").code, 0)
        _, calls, _ = self.run_batch("test_slow.bat")
        self.assertIn("--device-read-bps=/dev/sdc:1048576", calls[0])
        self.assertEqual(self.ballast(*arguments, "--io-device", "a b").code, 2)

    def test_the_batch_scripts_say_what_is_wrong(self):
        self.create_scripts()
        code, calls, err = self.run_batch("run_memory_env_test.bat", "--mode burst")
        self.assertEqual((code, calls), (2, []))
        self.assertIn("error: --environment is missing or has no name", err)
        code, calls, err = self.run_batch("run_memory_env_test.bat", "--environment nobody")
        self.assertEqual((code, calls), (4, []))
        self.assertIn('error: there is no environment "nobody"', err)
        self.assertEqual(self.run_batch("run_memory_env_test.bat", "--environment")[0], 2)
        self.assertEqual(self.run_batch("run_memory_env_test.bat", "--help")[0], 0)

    def test_the_compose_file_has_the_limits_of_the_profiles(self):
        with open(os.path.join(ROOT, "deploy", "compose.yaml"), encoding="utf-8") as file:
            text = file.read()
        services = dict(re.findall(r"^  device-(\S+):\n((?:    .*\n)+)", text, re.MULTILINE))
        profiles = self.profiles()
        self.assertEqual(set(services), {profile["aliases"][0] for profile in profiles.values()})
        for profile in profiles.values():
            service = services[profile["aliases"][0]]
            memory = profile["memory_bytes"] // MIB
            self.assertIn(f"    mem_limit: {memory}m\n", service)
            self.assertIn(f"    memswap_limit: {memory + profile['swap']['size_bytes'] // MIB}m\n", service)
            cpus = re.search(r"^    cpus: (\S+)$", service, re.MULTILINE)
            self.assertEqual(float(cpus.group(1)) if cpus else 0, profile["cpus"])
            self.assertIn(f"profile={profile['aliases'][0]}]", service)


if __name__ == "__main__":
    unittest.main()
