#!/usr/bin/env bash
# Add to an installed environment what the checks on a GPU need: scripts/docker/install-verify.sh VENV
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=$1
# torch asks for the CUDA packages of its own release: those that are pinned for compiling kernels would contradict it.
pinned=$(mktemp)
trap 'rm -f "$pinned"' EXIT
grep -v '^nvidia-' constraints.txt >"$pinned"
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check install --no-cache-dir --constraint "$pinned")
# torch on its own first: asked for by exact version, so that no other build of it is chosen later.
"${pip[@]}" "$(grep '^torch==' constraints.txt)"
# matplotlib: a benchmark whose plots cannot be drawn fails.
"${pip[@]}" onnx onnxscript safetensors pytest hypothesis matplotlib "onnxruntime-gpu[cuda,cudnn]"
if [ -e gaitstream ]; then
    echo "install-verify.sh: $PWD/gaitstream would be imported in place of the installed package" >&2
    exit 1
fi
"$venv/bin/python" -c 'import gaitstream, sys; sys.exit(not gaitstream.__file__.startswith(sys.prefix))' || {
    echo "install-verify.sh: gaitstream is not the one installed in $venv" >&2
    exit 1
}
"$venv/bin/python" - <<'PY'
from gaitstream.kernels.build import prebuilt_gpu
raise SystemExit(None if prebuilt_gpu().is_file() else "install-verify.sh: the wheel holds no GPU kernels")
PY
