#!/usr/bin/env bash
# Installs what is needed, builds, and runs all tests.
#
#   tests/run.sh                      the dev build (warnings are errors), every test
#   tests/run.sh --preset asan        under AddressSanitizer and UndefinedBehaviorSanitizer
#   tests/run.sh --preset tsan        under ThreadSanitizer, without what needs gRPC
#   tests/run.sh --device             the tests on virtual machines as devices, which the others leave out (docs/device-tests.md)
#   tests/run.sh [OPTION] -- …        what follows goes to ctest, for instance: -R spool
set -euo pipefail
cd "$(dirname "$0")/.."

preset=dev
tests=
while [ $# -gt 0 ]; do
  case "$1" in
    --preset)
      preset=${2:?"--preset needs a name: dev, asan or tsan"}
      shift 2
      ;;
    --device)
      tests=device
      shift
      ;;
    --)
      shift
      break
      ;;
    -h | --help)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    *)
      echo "error: unknown argument '$1'" >&2
      echo "  try: tests/run.sh --help" >&2
      exit 2
      ;;
  esac
done
case "$preset" in
  dev | asan | tsan) ;;
  *)
    echo "error: there is no test preset '$preset'" >&2
    echo "  try: dev, asan or tsan" >&2
    exit 2
    ;;
esac
if [ "$tests" = device ] && [ "$preset" != dev ]; then
  echo "error: the tests on virtual machines take the programs of the dev build" >&2
  echo "  try: tests/run.sh --device" >&2
  exit 2
fi

deploy/install-dependencies.sh "--${tests:-containers}"
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset"
# Tests that take memory or time run alone (RUN_SERIAL); the others share the processors.
exec ctest --preset "${tests:-$preset}" --parallel "$(nproc)" --no-tests=error "$@"
