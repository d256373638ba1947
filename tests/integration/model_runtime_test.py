"""A synthetic model in a real runtime: it loads, takes a prompt and generates.

Needs Node.js and the npm package node-llama-cpp (llama.cpp's library with a processor backend), which nothing here installs: name the
directory whose node_modules has it in BALLAST_NODE_LLAMA.
"""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

from fleet import program

DIRECTORY = os.environ.get("BALLAST_NODE_LLAMA", "")
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model_runtime.mjs")


@unittest.skipUnless(shutil.which("node") and os.path.isdir(os.path.join(DIRECTORY, "node_modules", "node-llama-cpp")),
                     "no runtime: BALLAST_NODE_LLAMA names no directory with node-llama-cpp")  # fmt: skip
class ModelRuntimeTest(unittest.TestCase):
    def test_every_level_of_the_tiny_model_generates(self):
        with tempfile.TemporaryDirectory() as directory:
            for quant in ("Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16"):
                with self.subTest(quant):
                    path = os.path.join(directory, quant + ".gguf")
                    subprocess.run([program("ballast"), "models", "create", "--shape", "tiny", "--quant", quant, "-o", path],
                                   check=True, capture_output=True, timeout=60)  # fmt: skip
                    result = subprocess.run(["node", SCRIPT, path], capture_output=True, text=True, timeout=60, check=False)
                    self.assertEqual(result.returncode, 0, result.stderr)
                    answer = json.loads(result.stdout.splitlines()[-1])
                    self.assertEqual(answer["generated"], 8)
                    # Pieces of the small tokenizer, merged: fewer than letters.
                    self.assertLess(answer["prompt"], len("hello world"))


if __name__ == "__main__":
    unittest.main()
