#!/usr/bin/env bash
# Build the wheel, and that of weights/, in an environment of their own: scripts/docker/build-wheel.sh OUT [PACKAGE...]
# $GAITSTREAM_WHEEL_KERNELS says which kernels it carries, see hatch_build.py.
# PACKAGEs are built beside it, at the versions of constraints.txt: those that need this image's compilers.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "$1")
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
mkdir -p "$out"
"$work/venv/bin/python" -m pip --quiet --disable-pip-version-check wheel --no-deps --wheel-dir "$out" . ./weights
for package in "$@"; do
    "$work/venv/bin/python" -m pip --quiet --disable-pip-version-check wheel --constraint constraints.txt \
        --wheel-dir "$out" "$package"
done
ls "$out"
