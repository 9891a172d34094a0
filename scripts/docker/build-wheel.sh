#!/usr/bin/env bash
# Build the wheel in its own environment: scripts/docker/build-wheel.sh OUT [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "$1")
python=${2:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
mkdir -p "$out"
"$work/venv/bin/python" -m pip --quiet --disable-pip-version-check wheel --no-deps --wheel-dir "$out" .
ls "$out"/gaitstream-*.whl
