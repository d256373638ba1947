#!/usr/bin/env bash
# From a fresh Debian 12 to a first result: installs what is needed, builds, starts a coordinator and two workers on loopback, runs a
# staircase on both and a burst on one, bounded to what this machine can spare, prints the results and leaves the reports.
# Usage: deploy/quickstart.sh [--output-dir DIR]      (default logs/memory_tests)
set -euo pipefail
cd "$(dirname "$0")/.."

output_dir=logs/memory_tests
while [ $# -gt 0 ]; do
  case "$1" in
    --output-dir)
      output_dir=${2:?"--output-dir needs a directory"}
      shift 2
      ;;
    -h | --help)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    *)
      echo "error: unknown argument '$1'" >&2
      echo "  try: deploy/quickstart.sh --help" >&2
      exit 2
      ;;
  esac
done

say() { printf '\n== %s\n' "$*" >&2; }

say "Installing what is missing"
deploy/install-dependencies.sh

say "Building the release"
cmake --preset release >/dev/null
cmake --build --preset release
bin=$PWD/build/release/bin

# What the machine can spare: at most half of what is available, a fifth of the limit, and 2 GiB. The limit is the machine's memory or the cgroup's.
facts=$("$bin/ballast-worker" --print-facts)
fact() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1" <<<"$facts"; }
limit=$(fact limit_bytes)
available=$(fact limit_available_bytes)
spare=$((available / 2))
[ $spare -le $((limit / 5)) ] || spare=$((limit / 5))
[ $spare -le $((2 << 30)) ] || spare=$((2 << 30))
if [ $spare -lt $((64 << 20)) ]; then
  echo "error: only $((available >> 20)) MiB of $((limit >> 20)) MiB are available: too little for a first run" >&2
  echo "  try: end other programs and run this again" >&2
  exit 1
fi
step_mib=$((spare / 10 >> 20))
target=$(python3 -c 'import sys; l,a,s=map(int,sys.argv[1:]); print(f"{min(90.0, 100*(l-a+s)/l):.1f}")' "$limit" "$available" "$spare")

work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT

say "Starting a coordinator and two workers on loopback"
mkfifo "$work/ready"
"$bin/ballast-coordinator" --listen 127.0.0.1:0 --data-dir "$work/coordinator" >"$work/ready" 2>"$work/coordinator.log" &
pids+=($!)
if ! read -r -t 30 _ _ address <"$work/ready"; then
  echo "error: the coordinator did not start:" >&2
  cat "$work/coordinator.log" >&2
  exit 1
fi
export BALLAST_COORDINATOR=$address
for slot in one two; do
  "$bin/ballast-worker" --coordinator "$address" --data-dir "$work/worker-$slot" --device-id "quickstart-$slot" \
    --labels "slot=$slot,class=quickstart" 2>"$work/worker-$slot.log" &
  pids+=($!)
done
for slot in one two; do
  if ! "$bin/ballast" devices wait "quickstart-$slot" --timeout 30s; then
    cat "$work/worker-$slot.log" >&2
    exit 1
  fi
done

say "Staircase: 5 steps of $step_mib MiB on both workers"
"$bin/ballast" simple --mode staircase --step-size "$step_mib" --interval 0.5 --steps 5 --on class=quickstart \
  --name "quickstart staircase" --save-report --output-dir "$output_dir"

say "Burst: $target % of memory in use for 5 s on worker one"
"$bin/ballast" simple --mode burst --target "$target" --duration 5.0 --on slot=one \
  --name "quickstart burst" --save-report --output-dir "$output_dir"

say "Everything that ran"
"$bin/ballast" runs list
say "Reports are in $output_dir:"
ls -1 "$output_dir"/j-*.json "$output_dir"/j-*.csv
