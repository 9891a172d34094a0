#!/usr/bin/env bash
# Make a release of what is committed: scripts/release.sh OUT
#   the sdist, and from it a wheel without kernels, one for x86-64 and one for aarch64, each where its compiler is; with
#   the GPU kernels where nvcc is, and TensorRT's plugin where $TENSORRT_INCLUDE names its headers
#   the wheel of weights/
#   gaitstream-VERSION.cdx.json: what is installed with it (CycloneDX)
#   images, where a container engine runs
#   SHA256SUMS of all
# The wheel of this machine is then run without any compiler.
set -euo pipefail
if [ $# -ne 1 ] || [ -z "$1" ] || [ "${1#-}" != "$1" ]; then
    echo "usage: scripts/release.sh OUT, a new or empty folder" >&2
    exit 2
fi
out=$(realpath -m -- "$1") # where it is called, not where the script lies
cd "$(dirname "$0")/.."
if [ -e "$out" ] && [ ! -d "$out" ]; then
    echo "release.sh: $out is no folder" >&2
    exit 2
fi
if [ -d "$out" ] && [ -n "$(ls -A "$out")" ]; then
    echo "release.sh: $out is not empty" >&2
    exit 2
fi
if [ -e .git ] && changed=$(git status --porcelain) && [ -n "$changed" ] && [ -z "${RELEASE_UNCOMMITTED:-}" ]; then
    echo "release.sh: these would be in the release and are in no commit; commit or remove them, or set" \
        "RELEASE_UNCOMMITTED=1:" "$changed" >&2
    exit 2
fi
here=$(uname -m)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

python3 -m venv "$work/tools"
export PATH=$work/tools/bin:$PATH
export PIP_CONSTRAINT=$PWD/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
python -m pip --quiet install pip
python -m pip --quiet install --group release
python -m build --sdist --outdir "$out" . >"$work/sdist.log" || { cat "$work/sdist.log" >&2; exit 1; }
version=$(basename "$out"/gaitstream-*.tar.gz .tar.gz)
mkdir "$work/source"
tar -xzf "$out/$version.tar.gz" --strip-components 1 -C "$work/source"

wheel() { # wheel MACHINE KERNELS TO
    GAITSTREAM_WHEEL_MACHINE=$1 GAITSTREAM_WHEEL_KERNELS=$2 python -m build --wheel --outdir "$3" "$work/source" \
        >"$work/wheel.log" || { cat "$work/wheel.log" >&2; exit 1; }
}

gpu=
if command -v "${NVCC:-nvcc}" >/dev/null || { [ -z "${NVCC:-}" ] && [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; }; then
    gpu=,fatbin
else echo "release.sh: no nvcc: without GPU kernels" >&2; fi
wheel "$here" none "$out"
for machine in x86_64 aarch64; do
    compiler=$machine-linux-gnu-g++
    [ "$machine" = "$here" ] && compiler=${CXX:-g++}
    if ! command -v "$compiler" >/dev/null && ! command -v "${compiler%% *}" >/dev/null; then
        echo "release.sh: no $compiler: no wheel for $machine" >&2
        continue
    fi
    kernels=cpu$gpu
    [ "$machine" != "$here" ] || [ -z "${TENSORRT_INCLUDE:-}" ] || kernels+=,plugin
    CXX=$compiler wheel "$machine" "$kernels" "$work/$machine"
    # Tags it for the oldest glibc that its symbols are in. TensorRT is the user's.
    auditwheel repair --plat auto --exclude 'libnvinfer*' --exclude 'libtensorrt*' --wheel-dir "$out" \
        "$work/$machine"/*.whl
done

own=$(ls "$out"/*"$here".whl 2>/dev/null || ls "$out"/*-any.whl)
python -m venv --without-pip "$work/installed"
python -m pip --quiet --python "$work/installed/bin/python" install "$own"
cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o "$out/$version.cdx.json" \
    "$work/installed/bin/python"
mkdir "$work/home"
said=$(env -i PATH="$work/home" HOME="$work/home" "$work/installed/bin/gaitstream" doctor --json |
    python -c 'import json, sys; print(json.load(sys.stdin)["kernels"]["said"])')
echo "release.sh: installed without a compiler: $said"
case $own:$said in
    *-any.whl:*) ;;
    *"from the package"*) ;;
    *) echo "release.sh: $own runs without its kernels" >&2; exit 1 ;;
esac

python -m build --wheel --outdir "$out" weights >"$work/weights.log" || { cat "$work/weights.log" >&2; exit 1; }

engine=${CONTAINER_ENGINE:-$(command -v docker || command -v podman || true)}
if [ -n "$engine" ] && "$engine" info >/dev/null 2>&1; then
    scripts/docker/build-images.sh cpu gpu
    for image in cpu gpu; do
        "$engine" save "gaitstream:$image" | gzip >"$out/$version-image-$image.tar.gz"
    done
else
    echo "release.sh: no container engine runs here: no images" >&2
fi
cd "$out"
sha256sum -- * >SHA256SUMS
cat SHA256SUMS
