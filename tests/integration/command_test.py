"""Programs under test: from the command line of this machine, and over a coordinator."""

import json
import os
import re
import stat
import sys
import time
import unittest

from fleet import MIB, FleetTest, LimitedGroup, process_exists, wait_until

NO_WAIT = ("--mode", "staircase", "--step-size", "8", "--interval", "0.05", "--steps", "2", "--baseline", "0.1",
           "--recovery", "0.1")  # fmt: skip
PYTHON = os.path.realpath(sys.executable)
# Takes 16 MiB a step, every byte of it written, until it has 96.
STEPWISE = """
import time
held = []
for step in range(6):
    held.append(bytearray(b"x" * (16 << 20)))
    print("step", step, flush=True)
    time.sleep(0.1)
print("done", sum(map(len, held)))
"""


class LocalCommandTest(FleetTest):
    def exec(self, *arguments, flags=NO_WAIT, **options):
        # On a busy machine a run is invalid, and what is looked at here is there all the same.
        flags = (*flags, "--include-invalid", "--output", "json")
        return self.ballast("exec", *flags, "--", *arguments, local=True, **options)

    def result_of(self, run):
        """The result of the only run of a report, and its executions."""
        result = run.json["runs"][0]["run"]["attempts"][-1]["result"]
        return result, result["commands"]

    def test_a_program_that_allocates_step_by_step_beside_a_staircase(self):
        flags = ("--mode", "staircase", "--step-size", "20", "--interval", "0.2", "--steps", "5", "--baseline", "0.2",
                 "--recovery", "0.2")  # fmt: skip
        run = self.exec("python3", "-c", STEPWISE, flags=flags)
        self.assertEqual(run.code, 0, run.err)
        result, commands = self.result_of(run)
        self.assertEqual(len(commands), 1)
        command = commands[0]
        self.assertEqual(command["outcome"]["kind"], "COMPLETED")
        self.assertEqual(command["argv"][1:], ["-c", STEPWISE])
        # Its own 96 MiB, apart from the 100 of the pressure.
        self.assertGreater(command["peak_memory_bytes"], 96 * MIB)
        self.assertLess(command["peak_memory_bytes"], 160 * MIB)
        self.assertGreater(command["peak_resident_bytes"], 96 * MIB)
        self.assertGreater(command["peak_anon_bytes"], 90 * MIB)
        self.assertGreater(command["minor_faults"], 96 * MIB // os.sysconf("SC_PAGE_SIZE") // 600)
        self.assertGreater(command["user_cpu_time_seconds"] + command["system_cpu_time_seconds"], 0)
        self.assertAlmostEqual(result["peak_held_bytes"], 100 * MIB, delta=MIB)
        self.assertEqual(command["output_tail"].splitlines()[-1], f"done {96 * MIB}")
        self.assertEqual(command["error_tail"], "")
        # Its curve stands in the samples, apart from the pressure's.
        rollups = {rollup["metric"]: rollup for rollup in run.json["runs"][0]["rollups"]}
        self.assertGreater(rollups["load_resident_bytes"]["max"], 90 * MIB)
        self.assertLess(rollups["load_resident_bytes"]["min"], rollups["load_resident_bytes"]["max"])
        self.assertAlmostEqual(rollups["runner_held_bytes"]["max"], 100 * MIB, delta=MIB)
        phases = [phase["kind"] for phase in result["phases"]]
        self.assertLess(phases.index("HOLD") if "HOLD" in phases else phases.index("RAMP"), phases.index("EXECUTE"))
        summary = run.json["commands"][0]
        self.assertEqual((summary["execution_count"], summary["survived_count"]), (1, 1))

    def test_the_users_shell_is_its_surroundings(self):
        script = "import os, sys; print(os.getcwd()); print(os.environ['GREETING']); print(sys.argv[1:]); print(sys.stdin.read() == '')"
        hostile = ["a b", "$(id)", "'; echo x", "{braces}", "--help", "内存"]
        run = self.exec("python3", "-c", script, *hostile, flags=(), environment={"GREETING": "grüß dich\nzwei"})
        self.assertEqual(run.code, 0, run.err)
        _, commands = self.result_of(run)
        lines = ["grüß dich", "zwei", repr(hostile), "True"]
        self.assertEqual(commands[0]["output_tail"].splitlines(), [os.path.realpath(self.directory), *lines])
        left = [name for _, _, files in os.walk(self.path("data")) for name in files if name == "worker.yaml"]
        self.assertEqual(left, [], "the file with the variables is gone")

    def test_what_the_program_leaves_in_memory_is_its_own(self):
        # A file in tmpfs, which no process has mapped: as large as a run's background may not be.
        name = f"/dev/shm/ballast-test-{os.getpid()}"
        self.addCleanup(lambda: os.path.exists(name) and os.remove(name))
        profiles = self.path("profiles.yaml")
        with open(profiles, "w", encoding="ascii") as file:
            file.write("environments: [{name: small, memory_bytes: 256MiB}]\n")
        script = f"head -c 128M /dev/zero > {name}; sleep 0.5; rm {name}"
        for flags in (("--env-file", profiles, "--env", "small"), ()):
            run = self.exec("sh", "-c", script, flags=flags)
            if run.code == 6:
                self.skipTest(run.err)
            self.assertEqual(run.code, 0, run.err)
            result, commands = self.result_of(run)
            remark = [remark for remark in result["validity"]["remarks"] if remark["kind"] == "BACKGROUND_MEMORY"][0]
            if flags:
                self.assertEqual(remark["value"], 0)
                self.assertEqual(result["environment"]["profile_name"], "small")
            if commands[0]["scope"] == "CGROUP":
                rollups = {rollup["metric"]: rollup for rollup in run.json["runs"][0]["rollups"]}
                self.assertGreater(rollups["load_cgroup_memory_bytes"]["max"], 100 * MIB)

    def test_an_exit_code_is_a_finding(self):
        run = self.ballast("exec", *NO_WAIT, "--", "python3", "-c", "import sys; print('so far'); sys.exit('broken')", local=True)
        self.assertEqual(run.code, 1, run.err)
        self.assertIn("COMMAND_FAILED", run.out)
        self.assertIn("exit 1", run.out)
        self.assertIn("  | so far", run.err)
        self.assertIn("  | broken", run.err)
        run_id = re.search(r"j-[0-9a-z]+\.1", run.out).group()
        shown = self.ballast("runs", "show", run_id, local=True)
        self.assertIn("the program exited with code 1", shown.out)
        self.assertIn("standard error of execution 1", shown.out)
        report = self.ballast("report", run_id, "--format", "csv", "--output-dir", self.path("out"), local=True)
        self.assertEqual(report.code, 0, report.err)
        with open(self.path(f"out/{run_id}-commands.csv"), encoding="utf-8-sig") as csv:
            self.assertIn("COMMAND_FAILED", csv.read())
        expected = self.ballast("exec", *NO_WAIT, "--expect", "COMMAND_FAILED", "--", "false", local=True)
        self.assertEqual(expected.code, 0, expected.err)

    def test_a_crash_by_a_signal(self):
        run = self.exec("python3", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGABRT)", flags=())
        self.assertEqual(run.code, 1, run.err)
        _, commands = self.result_of(run)
        outcome = commands[0]["outcome"]
        self.assertEqual((outcome["kind"], outcome["evidence"]["signal"], outcome["evidence"]["killer"]), ("COMMAND_FAILED", 6, "SELF"))

    def test_a_program_that_writes_much_is_not_held_up(self):
        script = "import sys\nfor _ in range(100): sys.stdout.write('x' * (1 << 20))\nsys.stdout.write('the end')"
        begin = time.monotonic()
        run = self.exec("python3", "-c", script, flags=())
        self.assertEqual(run.code, 0, run.err)
        _, commands = self.result_of(run)
        self.assertEqual(commands[0]["output_bytes"], 100 * MIB + 7)
        self.assertEqual(len(commands[0]["output_tail"]), 64 << 10)
        self.assertTrue(commands[0]["output_tail"].endswith("xxxthe end"))
        self.assertLess(time.monotonic() - begin, 60)

    def test_nothing_that_it_starts_outlives_it(self):
        pid_file = self.path("pid")
        script = f"""
import os, subprocess
child = subprocess.Popen(["sleep", "1000"])
open({pid_file!r}, "w").write(str(child.pid))
"""
        run = self.exec("python3", "-c", script, flags=())
        self.assertEqual(run.code, 0, run.err)
        with open(pid_file, encoding="ascii") as file:
            child = int(file.read())
        wait_until(lambda: not process_exists(child), 10, "the child of the program to end")

    def test_what_is_said_where_it_is_not_clear_whose_program_it_is(self):
        for arguments, code, words in (
            (("exec", "photo-import"), 2, "ballast exec -- photo-import"),
            (("exec", "--", "no-such-program-here"), 2, "on PATH"),
            (("exec", "--coordinator", "127.0.0.1:1", "--", "true"), 2, "their own configuration"),
        ):
            result = self.ballast(*arguments, local=True)
            self.assertEqual(result.code, code, result.err)
            self.assertIn(words, result.err)
            self.assertIn("  try: ", result.err)

    def test_an_oom_kill_at_a_limit_and_the_next_execution_goes_on(self):
        try:
            group = LimitedGroup(400 * MIB)
        except OSError as error:
            self.skipTest(f"needs the right to make a memory cgroup: {error}")
        self.addCleanup(group.remove)
        marker = self.path("marker")
        script = f"""
import os
if not os.path.exists({marker!r}):
    open({marker!r}, "w").close()
    held = []
    while True: held.append(bytearray(b"x" * (8 << 20)))
"""
        run = self.exec("python3", "-c", script, flags=("--executions", "2", "--until", "oom"), preexec_fn=group.join)
        self.assertEqual(run.code, 1, run.err)
        result, commands = self.result_of(run)
        self.assertEqual([command["outcome"]["kind"] for command in commands], ["OOM_KILLED", "COMPLETED"], run.out)
        evidence = commands[0]["outcome"]["evidence"]
        self.assertEqual(evidence["killer"], "KERNEL_MEMCG_OOM")
        self.assertGreater(commands[0]["peak_memory_bytes"], 200 * MIB)
        self.assertEqual(result["outcome"]["kind"], "OOM_KILLED")
        summary = run.json["commands"][0]
        self.assertEqual((summary["execution_count"], summary["survived_count"]), (2, 1))


    def test_under_a_profile_its_figures_and_its_end_are_its_own(self):
        try:
            LimitedGroup(400 * MIB).remove()
        except OSError as error:
            self.skipTest(f"needs the right to make a memory cgroup: {error}")
        flags = ("--env", "2gb-noswap", "--mode", "staircase", "--step-size", "20", "--interval", "0.2", "--steps", "5")
        run = self.exec("python3", "-c", STEPWISE, flags=flags)
        self.assertEqual(run.code, 0, run.err)
        result, commands = self.result_of(run)
        self.assertEqual(result["environment"]["memory_bytes"], 2048 * MIB)
        self.assertEqual(result["limit_bytes"], 2048 * MIB)
        self.assertEqual(commands[0]["scope"], "CGROUP")
        self.assertGreater(commands[0]["peak_memory_bytes"], 96 * MIB)
        self.assertGreater(commands[0]["minor_faults"], 0)

        os.makedirs(self.path("config/ballast"))
        with open(self.path("config/ballast/environments.yaml"), "w", encoding="ascii") as profiles:
            profiles.write("environments: [{name: tiny, memory_bytes: 300MiB}]\n")
        greedy = "held = []\nwhile True: held.append(bytearray(b'x' * (8 << 20)))"
        run = self.exec("python3", "-c", greedy, flags=("--env", "tiny", "--until", "oom", "--expect", "OOM_KILLED"))
        self.assertEqual(run.code, 0, run.err)
        _, commands = self.result_of(run)
        outcome = commands[0]["outcome"]
        self.assertEqual((outcome["kind"], outcome["evidence"]["killer"]), ("OOM_KILLED", "KERNEL_MEMCG_OOM"))
        self.assertGreater(commands[0]["peak_memory_bytes"], 200 * MIB)
        self.assertLessEqual(commands[0]["peak_memory_bytes"], 300 * MIB)
        self.assertEqual(run.json["commands"][0]["environment"], "tiny")


class FleetCommandTest(FleetTest):
    def start(self):
        program = self.path("show.py")
        with open(program, "w", encoding="ascii") as file:
            file.write(f"#!{PYTHON}\nimport os, sys\nprint(sys.argv[1:], os.getcwd(), sorted(os.environ))\n")
        os.chmod(program, stat.S_IRWXU)
        with open(self.path("worker.yaml"), "w", encoding="ascii") as config:
            config.write(
                f"""commands:
  - command_id: show
    program: {program}
    arguments: ["--name={{name}}", "{{{{fixed}}}}"]
    parameters: [{{name: name, pattern: "[^x]*", default_value: nobody}}]
    working_directory: /tmp
    environment: {{MODE: fast}}
  - {{command_id: gone, program: /no/such/program}}
"""
            )
        self.start_coordinator()
        self.start_worker("dev-1", "", "--config", self.path("worker.yaml"))

    def test_devices_run_what_their_configuration_names(self):
        self.start()
        hostile = "a b; $(id) `id` ' \" {name}"
        run = self.ballast("exec", "show", "--param", f"name={hostile}", "--executions", "2", "--output", "json")
        self.assertEqual(run.code, 0, run.err)
        commands = run.json["runs"][0]["run"]["attempts"][-1]["result"]["commands"]
        self.assertEqual(len(commands), 2)
        self.assertEqual(commands[0]["argv"][1:], [f"--name={hostile}", "{fixed}"])
        arguments = [f"--name={hostile}", "{fixed}"]
        self.assertTrue(commands[0]["output_tail"].startswith(f"{arguments!r} /tmp ['"), commands[0]["output_tail"])
        self.assertIn("'MODE', 'PATH'", commands[0]["output_tail"])
        self.assertNotIn("BALLAST", commands[0]["output_tail"])
        device = self.ballast("devices", "show", "dev-1", "--output", "json").json
        self.assertEqual(device["facts"]["command_ids"], ["show", "gone"])
        self.assertTrue(any("/no/such/program" in text for text in device["facts"]["limitations"]))

    def test_what_the_configuration_does_not_name_is_refused(self):
        self.start()
        unknown = self.ballast("exec", "shw")
        self.assertEqual(unknown.code, 6, unknown.err)
        self.assertIn("names no command 'shw' (did you mean 'show'?)", unknown.err)
        self.assertIn("  try: ", unknown.err)
        for parameter, words in (("name=xxx", "[^x]*"), ("other=1", "no parameter 'other'")):
            refused = self.ballast("exec", "show", "--param", parameter, "--output", "json")
            self.assertEqual(refused.code, 6, refused.err)
            outcome = refused.json["runs"][0]["run"]["outcome"]
            self.assertEqual(outcome["kind"], "INVALID")
            self.assertIn(words, outcome["message"])
        gone = self.ballast("exec", "gone", "--output", "json")
        self.assertEqual(gone.code, 6, gone.err)
        self.assertIn("/no/such/program", json.dumps(gone.json["runs"][0]["run"]["outcome"]))

    def test_a_configuration_that_makes_no_sense_keeps_the_worker_from_starting(self):
        self.start_coordinator()
        with open(self.path("wrong.yaml"), "w", encoding="ascii") as config:
            config.write("commands: [{command_id: a, program: /bin/true, arguments: ['{none}']}]\n")
        worker = self.start_worker("dev-2", "", "--config", self.path("wrong.yaml"), wait=False)
        self.assertEqual(worker.process.wait(20), 2)
        self.assertIn("commands[0].arguments[0]: 'none' is not a parameter", worker.log())


if __name__ == "__main__":
    unittest.main()
