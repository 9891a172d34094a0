#!/usr/bin/env bash
# Install the wheel into an environment: scripts/docker/install.sh WHEEL_DIR VENV cpu|gpu
# gpu: the environment sees the base image's packages, and gets DeepStream's and TensorRT's bindings if missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
wheels=$(realpath "$1")
venv=$2
flavour=$3
wheel=$(ls "$wheels"/gaitstream-*.whl | tail -n 1)
case $flavour in
    cpu) options=(); extras="" ;;
    # onnxruntime-gpu and TensorRT's own wheels stay out: the image brings TensorRT.
    gpu) options=(--system-site-packages); extras="[cuda]" ;;
    *) echo "install.sh: flavour '$flavour' is unknown; use cpu or gpu" >&2; exit 2 ;;
esac
python3 -m venv "${options[@]}" "$venv"
"$venv/bin/python" -m pip --quiet --disable-pip-version-check install --no-cache-dir --find-links "$wheels" \
    --constraint constraints.txt "$wheel$extras" "$wheels"/gaitstream_walkers-*.whl
"$venv/bin/gaitstream" --version
if [ "$flavour" = gpu ]; then
    # DeepStream's Python API is a wheel inside its image.
    service_maker=${SERVICE_MAKER:-/opt/nvidia/deepstream/deepstream/service-maker/python}
    wheel=$(find "$service_maker" -name 'pyservicemaker*.whl' 2>/dev/null | tail -n 1)
    if [ -z "$wheel" ]; then
        echo "install.sh: there is no pyservicemaker wheel in $service_maker: is this a DeepStream 9.1 image?" >&2
        exit 1
    fi
    "$venv/bin/python" -m pip --quiet --disable-pip-version-check install "$wheel"
    "$(dirname "$0")/install-tensorrt.sh" "$venv"
fi
