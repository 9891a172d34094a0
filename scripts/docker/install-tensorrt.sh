#!/usr/bin/env bash
# See to it that TensorRT imports in an environment: scripts/docker/install-tensorrt.sh VENV
# Without it nvinfer would build every engine itself, silently and anew at each start. The image's own module
# (python3-libnvinfer) is seen through --system-site-packages; where it is missing, NVIDIA's bindings of exactly the
# version of the image's library are taken. That distribution holds tensorrt_bindings alone, which gaitstream takes.
set -euo pipefail
venv=$1
imports() {
    "$venv/bin/python" -c 'from gaitstream.engines.tensorrt import TENSORRT, import_library
print("TensorRT", import_library(TENSORRT).__version__)'
}
imports && exit 0
version=$(dpkg-query --show --showformat '${Version}' libnvinfer10 2>/dev/null | sed 's/-.*//' || true)
if [ -z "$version" ]; then
    version=$(ldconfig -p | sed -n 's/.*libnvinfer\.so\.\([0-9.]*\) .*/\1/p' | sort -V | tail -n 1)
    echo "install-tensorrt.sh: no package libnvinfer10; the library says ${version:-nothing}" >&2
fi
if [ -z "$version" ]; then
    echo "install-tensorrt.sh: this image has no TensorRT: take nvcr.io/nvidia/deepstream:9.1-samples-multiarch" >&2
    exit 1
fi
"$venv/bin/python" -m pip --quiet --disable-pip-version-check install --no-deps "tensorrt-cu13-bindings==$version"
imports || {
    echo "install-tensorrt.sh: TensorRT $version does not import" >&2
    exit 1
}
