#!/usr/bin/env bash
# Compile the detector parser for nvinfer and, where TensorRT's headers are, the PGHA plugin:
#   scripts/docker/build-parser.sh OUT
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
for source in gaitstream/deepstream/parser gaitstream/kernels/plugin; do
    [ -f "$source/CMakeLists.txt" ] || continue
    name=$(basename "$source")
    if cmake -S "$source" -B "$work/$name" -DCMAKE_BUILD_TYPE=Release >"$work/$name.log" 2>&1; then
        cmake --build "$work/$name" --parallel 2
        find "$work/$name" -maxdepth 2 -name 'lib*.so' -exec cp {} "$out" \;
    elif [ "$name" = plugin ]; then
        echo "build-parser.sh: the plugin is left out: $(tail -n 1 "$work/$name.log")" >&2
    else
        cat "$work/$name.log" >&2
        exit 1
    fi
done
ls "$out"
