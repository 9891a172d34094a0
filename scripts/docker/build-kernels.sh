#!/usr/bin/env bash
# Compile the kernels into the package, before the wheel is built: scripts/docker/build-kernels.sh cpu|gpu
set -euo pipefail
cd "$(dirname "$0")/../.."
case $1 in
    cpu) options=(--wheel) ;;
    gpu) options=(--wheel --gpu) ;;
    *) echo "build-kernels.sh: '$1' is unknown; use cpu or gpu" >&2; exit 2 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --quiet --disable-pip-version-check install --constraint constraints.txt \
    numpy filelock platformdirs
PYTHONPATH=. "$work/venv/bin/python" -m gaitstream.kernels.build "${options[@]}"
ls gaitstream/kernels/prebuilt
