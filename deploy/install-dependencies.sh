#!/usr/bin/env bash
# Installs what building and testing need, as Debian packages. Asks apt only for what is missing, so a second call costs nothing.
# Usage: deploy/install-dependencies.sh [--device|--containers|--fuzz]
#   --device      what the tests on virtual machines need, too
#   --containers  what the tests with containers need, too; those that lack it are skipped
#   --fuzz        what the fuzzers need, too
set -euo pipefail

packages=(
  # toolchain
  g++ cmake ninja-build ccache mold pkg-config
  # libraries
  libgrpc++-dev libgrpc-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libabsl-dev libc-ares-dev libre2-dev
  libssl-dev zlib1g-dev libyaml-cpp-dev libsqlite3-dev libzstd-dev libspdlog-dev libfmt-dev libcli11-dev
  # tests
  libgtest-dev libgmock-dev python3 python3-jsonschema sqlite3 procps iproute2 iptables e2fsprogs
)
lists=known
case "${1-}" in
  '') ;;
  --device)
    packages+=(qemu-system-x86 busybox-static e2fsprogs util-linux)
    # The machines' kernel is downloaded by the tests, and not installed.
    apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1 || lists=missing
    ;;
  --containers)
    packages+=(podman runc busybox-static shellcheck)
    ;;
  --fuzz)
    packages+=(clang)
    ;;
  *)
    echo "error: unknown argument '$1'" >&2
    echo "  try: deploy/install-dependencies.sh [--device|--containers|--fuzz]" >&2
    exit 2
    ;;
esac

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || [ $lists = missing ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "error: packages or their lists are missing and this is neither root nor is there sudo: ${missing[*]}" >&2
    echo "  try: as root, apt-get update and apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq >&2
[ ${#missing[@]} -gt 0 ] || exit 0
echo "Installing ${#missing[@]} Debian packages: ${missing[*]}" >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
