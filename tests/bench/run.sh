#!/usr/bin/env bash
# Builds the optimised programs and prints one table of figures beside what they are compared with and the goals.
# Prints; does not fail on a slow machine. Takes about three minutes after the build, on a machine with nothing else to do.
#
#   tests/bench/run.sh            needs root (a memory cgroup of 4 GiB) and 6 GiB of free memory
set -euo pipefail
cd "$(dirname "$0")/../.."

deploy/install-dependencies.sh
if ! command -v stress-ng >/dev/null; then
  apt-get install -y --no-install-recommends stress-ng >/dev/null
fi
cmake --preset bench >/dev/null
cmake --build --preset bench

export BALLAST_BENCH_HEADER=0
bin=build/bench/bin
BALLAST_BENCH_HEADER=1 tests/bench/figure_table.py --header
"$bin/bench_pressure" --json | tests/bench/figure_table.py
"$bin/bench_sampling" --json | tests/bench/figure_table.py
"$bin/bench_model_load" --json | tests/bench/figure_table.py
tests/bench/pressure_bench.py "$bin"
tests/bench/fleet_bench.py "$bin"
