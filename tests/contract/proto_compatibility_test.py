#!/usr/bin/env python3
"""proto_compatibility.py finds each planted change, names it, and lets additions pass."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import proto_compatibility  # noqa: E402
import proto_schema  # noqa: E402

BASE = """syntax = "proto3";
package fleet.v1;
service Desk {
  rpc Ask(Question) returns (Answer);
  rpc Talk(stream Question) returns (stream Answer);
}
enum Mood { MOOD_UNSPECIFIED = 0; CALM = 1; ANGRY = 2; }
message Question {
  reserved 9, 20 to 22;
  string text = 1;
  uint32 weight = 2;
  repeated string words = 3;
  map<string, string> labels = 4;
  oneof content { bytes body = 5; Mood mood = 6; }
  optional double share = 7;
  message Inner { bool set = 1; }
  Inner inner = 8;
}
message Answer { string text = 1; }
"""


class ProtoCompatibilityTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="ballast-proto-test-")
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.released = self.directory / "released.binpb"
        (self.directory / "proto").mkdir()
        self.file = self.directory / "proto" / "fleet.proto"
        self.file.write_text(BASE, encoding="utf-8")
        self.released.write_bytes(proto_schema.compile_set(self.directory / "proto"))
        self.schema = proto_schema.load(self.released)

    def check(self, *arguments):
        return subprocess.run(
            [sys.executable, "-B", HERE / "proto_compatibility.py", "--proto", self.directory / "proto", "--released", self.released, *arguments],
            capture_output=True, text=True, timeout=60, check=False)  # fmt: skip

    def write(self, *replacements):
        """The protocol with some of it replaced."""
        text = BASE
        for old, new in replacements:
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.file.write_text(text, encoding="utf-8")

    def test_what_was_released_passes(self):
        done = self.check()
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_additions_pass_and_are_released(self):
        self.write(
            ("message Answer { string text = 1; }", "message Answer { string text = 1; Mood mood = 2; }\nmessage More { uint64 count = 1; }"),
            ("ANGRY = 2;", "ANGRY = 2; TIRED = 3;"),
            ("rpc Ask(Question) returns (Answer);", "rpc Ask(Question) returns (Answer);\n  rpc Tell(Answer) returns (Answer);"))  # fmt: skip
        self.assertEqual(proto_compatibility.changes(self.schema, proto_schema.compile_schema(self.directory / "proto")), [])
        self.assertEqual(self.check("--release").returncode, 0)
        self.file.write_text(BASE, encoding="utf-8")
        self.assertIn("message fleet.v1.More is gone", self.check().stderr)

    def test_each_planted_change_is_named(self):
        planted = (
            ((("  uint32 weight = 2;\n", ""),), "field fleet.v1.Question.weight = 2 is gone"),
            ((("reserved 9,", "reserved 2, 9,"), ("  uint32 weight = 2;\n", "")), "field fleet.v1.Question.weight = 2 is gone"),
            ((("weight = 2", "weight = 12"),), "field fleet.v1.Question.weight = 2 has the number 12 now"),
            ((("text = 1;\n  uint32 weight = 2", "text = 2;\n  uint32 weight = 1"),), "field fleet.v1.Question.text = 1 has the number 2 now"),
            ((("uint32 weight", "uint64 weight"),), "field fleet.v1.Question.weight = 2 was uint32 and is uint64"),
            ((("Inner inner = 8", "Answer inner = 8"),), "field fleet.v1.Question.inner = 8 was fleet.v1.Question.Inner and is fleet.v1.Answer"),
            ((("uint32 weight", "uint32 mass"),), "field fleet.v1.Question.weight = 2 is now called mass"),
            ((("repeated string words", "string words"),), "field fleet.v1.Question.words = 3 was repeated and is singular"),
            ((("uint32 weight", "optional uint32 weight"),), "field fleet.v1.Question.weight = 2 was singular and is optional"),
            ((("optional double share", "double share"),), "field fleet.v1.Question.share = 7 was optional and is singular"),
            ((("map<string, string>", "map<string, bytes>"),), "field fleet.v1.Question.LabelsEntry.value = 2 was string and is bytes"),
            ((("oneof content { bytes body = 5;", "bytes body = 5; oneof content {"),), "field fleet.v1.Question.body = 5 was in content and is in none"),
            ((("reserved 9, ", "reserved "), ("Inner inner = 8;", "Inner inner = 8; bool late = 9;")),
             "field fleet.v1.Question.late = 9 takes a number that was reserved"),
            ((("reserved 9, 20 to 22", "reserved 9"),), "message fleet.v1.Question no longer reserves 20 to 22"),
            ((("CALM = 1; ", ""),), "value fleet.v1.Mood.CALM = 1 is gone"),
            ((("CALM = 1", "CALM = 7"),), "value fleet.v1.Mood.CALM = 1 has the number 7 now"),
            ((("CALM = 1", "QUIET = 1"),), "value fleet.v1.Mood.CALM = 1 is now called QUIET"),
            ((("  rpc Ask(Question) returns (Answer);\n", ""),), "method fleet.v1.Desk.Ask is gone"),
            ((("rpc Ask(Question)", "rpc Ask(Answer)"),), "method fleet.v1.Desk.Ask: its input was fleet.v1.Question and is fleet.v1.Answer"),
            ((("returns (Answer)", "returns (Question)"),), "method fleet.v1.Desk.Ask: its output was fleet.v1.Answer and is fleet.v1.Question"),
            ((("(stream Question)", "(Question)"),), "method fleet.v1.Desk.Talk: the client no longer streams"),
            ((("returns (Answer)", "returns (stream Answer)"),), "method fleet.v1.Desk.Ask: the server streams now"),
            ((("service Desk", "service Counter"),), "service fleet.v1.Desk is gone"),
            ((("message Answer {", "message Reply {"), ("(Answer)", "(Reply)"), ("stream Answer", "stream Reply")), "message fleet.v1.Answer is gone"),
            ((("package fleet.v1;", "package fleet.v2;"),), "message fleet.v1.Question is gone: is it fleet.v2.Question now?"),
        )  # fmt: skip
        for replacements, message in planted:
            with self.subTest(message):
                self.write(*replacements)
                found = proto_compatibility.changes(self.schema, proto_schema.compile_schema(self.directory / "proto"))
                self.assertTrue(any(change.startswith(message) for change in found), found)

    def test_what_is_taken_back_is_an_error_and_cannot_be_released(self):
        self.write(("  uint32 weight = 2;\n", ""))
        before = self.released.read_bytes()
        for flags in ((), ("--release",)):
            done = self.check(*flags)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("error: field fleet.v1.Question.weight = 2 is gone\n", done.stderr)
            self.assertIn("  try: ", done.stderr)
            self.assertEqual(self.released.read_bytes(), before)

    def test_what_cannot_be_compared_is_an_error(self):
        self.file.write_text("message", encoding="utf-8")
        self.assertIn("fleet.proto", self.check().stderr)
        self.file.write_text(BASE, encoding="utf-8")
        self.released.write_bytes(b"\x0a\x7f")
        done = self.check()
        self.assertEqual(done.returncode, 1)
        self.assertIn("error: ", done.stderr)
        self.released.unlink()
        self.assertIn("--release", self.check().stderr)


if __name__ == "__main__":
    unittest.main()
