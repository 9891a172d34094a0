#!/usr/bin/env bash
# Compile the detector parser for nvinfer and the PGHA plugin for TensorRT: scripts/docker/build-parser.sh OUT [all]
# `all` fails where one cannot be compiled; else the plugin is left out where its headers or nvcc are not.
# $DEEPSTREAM_INCLUDE, $TENSORRT_INCLUDE and $TENSORRT_LIB name folders off the system's search path.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "$1")
wanted=${2:-some}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
options=(-DCMAKE_BUILD_TYPE=Release)
for name in DEEPSTREAM_INCLUDE TENSORRT_INCLUDE TENSORRT_LIB; do
    [ -z "${!name:-}" ] || options+=("-D$name=${!name}")
done
for source in gaitstream/deepstream/parser gaitstream/kernels/plugin; do
    name=$(basename "$source")
    if cmake -S "$source" -B "$work/$name" "${options[@]}" >"$work/$name.log" 2>&1; then
        cmake --build "$work/$name" --parallel 2
        find "$work/$name" -maxdepth 2 -name 'lib*.so' -exec cp {} "$out" \;
    elif [ "$name" = plugin ] && [ "$wanted" != all ]; then
        echo "build-parser.sh: the plugin is left out: $(tail -n 1 "$work/$name.log")" >&2
    else
        cat "$work/$name.log" >&2
        exit 1
    fi
done
if [ "$wanted" = all ]; then
    # The parser has nvinfer's entry points, the plugin registers itself and stays.
    nm -D "$out/libgaitstream_parser.so" | grep GaitstreamParseYolox >/dev/null
    readelf -d "$out/libgaitstream_plugins.so" | grep NODELETE >/dev/null
fi
ls "$out"
