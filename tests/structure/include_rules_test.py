#!/usr/bin/env python3
"""include_rules.py finds what is planted, and nothing where nothing is wrong."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import include_rules  # noqa: E402

# A small tree that keeps every rule.
CLEAN = {
    "common/base/fd.h": "#pragma once\n#include <utility>\n",
    "common/config/yaml.h": '#include "common/base/fd.h"\n',
    "common/config/yaml.cc": '#include "common/config/yaml.h"\n#include <yaml-cpp/parser.h>\n#include "ballast/v1/job.pb.h"\n',
    "common/rpc/channel.h": "#include <grpcpp/channel.h>\n",
    "storage/store.h": '#include "ballast/v1/run.pb.h"\n',
    "storage/sqlite/connection.h": "#include <sqlite3.h>\n",
    "storage/sqlite/sqlite_store.h": '#include "storage/store.h"\n',
    "storage/sqlite/sqlite_store.cc": '#include "storage/sqlite/sqlite_store.h"\n#include "storage/sqlite/connection.h"\n',
    "coordinator/core/core.h": '#include <chrono>\n#include "common/base/fd.h"\n#include "ballast/v1/worker_service.pb.h"\n',
    "coordinator/rpc/service.cc": '#include <thread>\n#include "ballast/v1/worker_service.grpc.pb.h"\n'
                                  '#include "coordinator/core/core.h"\n#include "storage/store.h"\n',
    "coordinator/main.cc": '#include "storage/sqlite/sqlite_store.h"\n#include "coordinator/core/core.h"\n',
    "worker/pressure/engine.h": '#include "common/base/fd.h"\n',
    "worker/runner/runner.cc": '#include "worker/pressure/engine.h"\n',
    "worker/agent/session/session.cc": '#include "ballast/v1/worker_service.grpc.pb.h"\n',
    "worker/agent/executor.cc": '#include "worker/pressure/engine.h"\n',
    "cli/render/table.h": '#include "common/base/fd.h"\n',
    "cli/submit.cc": '#include "cli/render/table.h"\n#include "ballast/v1/client_service.grpc.pb.h"\n',
    "tests/unit/core_test.cc": '#include "storage/sqlite/connection.h"\n#include <sqlite3.h>\n',
    "build/x/generated.cc": '#include "cli/submit.h"\n#include <sqlite3.h>\n',
}


class IncludeRulesTest(unittest.TestCase):
    def check(self, changes):
        """The problems of the clean tree with some files changed or added."""
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            for name, text in {**CLEAN, **changes}.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return include_rules.check(root)

    def expect_one(self, changes, place, *words):
        problems = self.check(changes)
        self.assertEqual(len(problems), 1, problems)
        self.assertTrue(problems[0].startswith(place + ": "), problems[0])
        for word in words:
            self.assertIn(word, problems[0])

    def test_clean_tree_has_no_problems(self):
        self.assertEqual(self.check({}), [])

    def test_folder_that_is_not_allowed(self):
        for path, included, allowed in [
            ("coordinator/core/x.cc", "storage/store.h", "common/base, common/jobs, ballast/v1"),
            ("coordinator/core/x.cc", "common/config/yaml.h", "common/base, common/jobs, ballast/v1"),
            ("coordinator/report/x.cc", "coordinator/core/core.h", "storage/*.h"),
            ("coordinator/rpc/x.cc", "storage/sqlite/sqlite_store.h", "storage/*.h"),
            ("worker/pressure/x.cc", "worker/telemetry/sampler.h", "common, ballast/v1"),
            ("worker/runner/x.cc", "worker/agent/spool.h", "worker/pressure"),
            ("worker/agent/x.cc", "coordinator/core/core.h", "worker, common"),
            ("worker/agent/x.cc", "storage/store.h", "worker, common"),
            ("storage/x.cc", "storage/sqlite/none.h", "common"),
            ("cli/x.cc", "storage/store.h", "common, ballast/v1"),
            ("cli/x.cc", "worker/agent/none.h", "common, ballast/v1"),
            ("common/base/x.cc", "cli/none.h", "common, ballast/v1"),
        ]:
            with self.subTest(path=path, included=included):
                self.expect_one({path: f'#pragma once\n\n#include "{included}"\n'}, f"{path}:3", f'"{included}"', "may include only", allowed)

    def test_angle_brackets_and_spaces_do_not_hide_an_include(self):
        self.expect_one({"cli/x.cc": "  #  include <storage/store.h>\n"}, "cli/x.cc:1", "storage/store.h")

    def test_comments_are_no_includes(self):
        self.assertEqual(self.check({"cli/x.cc": '// #include "storage/store.h"\n/*\n#include "storage/store.h"\n*/\n'}), [])
        self.expect_one({"cli/x.cc": '/*\n\n*/\n#include "storage/store.h"\n'}, "cli/x.cc:4", "storage/store.h")

    def test_main_may_include_anything(self):
        self.assertEqual(self.check({"worker/main.cc": '#include "worker/runner/runner.h"\n#include "worker/agent/executor.h"\n'}), [])
        self.expect_one({"cli/domain.cc": '#include "storage/store.h"\n'}, "cli/domain.cc:1", "cli may include only")

    def test_folder_without_a_rule(self):
        self.expect_one({"gui/window.cc": "int x;\n"}, "gui/window.cc:1", "no rule", "gui")
        self.expect_one({"worker/guard.h": "int x;\n"}, "worker/guard.h:1", "no rule")

    def test_include_beside_the_file(self):
        self.expect_one({"cli/x.cc": '#include "submit.h"\n', "cli/submit.h": ""}, "cli/x.cc:1", "from the top of the repository")

    def test_restricted_includes(self):
        for path, included, word in [
            ("worker/agent/executor.cc", "ballast/v1/worker_service.grpc.pb.h", "edges"),
            ("coordinator/report/x.cc", "ballast/v1/client_service.grpc.pb.h", "edges"),
            ("coordinator/report/x.cc", "grpcpp/server.h", "without gRPC"),
            ("worker/telemetry/x.cc", "grpcpp/channel.h", "without gRPC"),
            ("coordinator/rpc/x.cc", "sqlite3.h", "storage/sqlite"),
            ("storage/x.cc", "sqlite3.h", "storage/sqlite"),
            ("cli/x.cc", "yaml-cpp/yaml.h", "common/config"),
            ("coordinator/core/x.cc", "thread", "pure"),
            ("coordinator/core/x.h", "sys/socket.h", "pure"),
        ]:
            with self.subTest(path=path, included=included):
                self.expect_one({path: f"\n#include <{included}>\n"}, f"{path}:2", f"<{included}>", word, "allowed only in")

    def test_hidden_library_in_a_public_header(self):
        self.expect_one({"storage/sqlite/sqlite_store.h": '#include "storage/sqlite/connection.h"\n'}, "coordinator/main.cc:1",
                        "storage/sqlite/sqlite_store.h -> storage/sqlite/connection.h -> sqlite3.h")
        self.expect_one({"common/config/yaml.h": "#include <yaml-cpp/yaml.h>\n", "cli/x.cc": '\n#include "common/config/yaml.h"\n'},
                        "cli/x.cc:2", "yaml-cpp/yaml.h")

    def test_circle_of_files(self):
        self.expect_one({"cli/a.h": '\n#include "cli/b.h"\n', "cli/b.h": '#include "cli/c.h"\n', "cli/c.h": '#include "cli/a.h"\n'}, "cli/a.h:2",
                        "circle of includes", "cli/a.h -> cli/b.h -> cli/c.h -> cli/a.h")
        self.expect_one({"cli/a.h": '#include "cli/a.h"\n'}, "cli/a.h:1", "circle of includes")

    def test_circle_of_folders(self):
        self.expect_one({"common/base/x.cc": '\n\n#include "common/config/yaml.h"\n'}, "common/base/x.cc:3", "circle of folders",
                        "common/base includes common/config (common/base/x.cc:3)", "common/config includes common/base (common/config/yaml.h:1)")

    def test_every_problem_is_told(self):
        problems = self.check({"cli/x.cc": '#include "storage/store.h"\n#include <sqlite3.h>\n#include <yaml-cpp/yaml.h>\n'})
        self.assertEqual(len(problems), 3, problems)

    def test_program_exits_with_1_and_prints(self):
        script = pathlib.Path(include_rules.__file__)
        with tempfile.TemporaryDirectory() as directory:
            source = pathlib.Path(directory, "cli", "x.cc")
            source.parent.mkdir()
            source.write_text('#include "storage/store.h"\n', encoding="utf-8")
            result = subprocess.run([sys.executable, "-B", script, directory], capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn("cli/x.cc:1: ", result.stdout)
            source.write_text("", encoding="utf-8")
            self.assertEqual(subprocess.run([sys.executable, "-B", script, directory], check=False).returncode, 0)
            source.unlink()
            result = subprocess.run([sys.executable, "-B", script, directory], capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 1, "an empty tree is a wrong path, not a clean one")


if __name__ == "__main__":
    unittest.main()
