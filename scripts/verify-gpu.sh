#!/usr/bin/env bash
# Proves on a GPU box what cannot be proved without one: scripts/verify-gpu.sh [--biggait BUNDLE] [--gaitheat BUNDLE]
#
# Run it inside the image, or in an environment with TensorRT, DeepStream 9.1 and the [test] group:
#   docker run --rm -it --gpus all -v "$PWD":/repo -w /repo --user 0 --entrypoint bash gaitstream:gpu scripts/verify-gpu.sh
# The front ends are compared on a synthetic site with the bundles given, or with the packaged demo model: tracks
# and names. Bundles have to be trained, and exported with --target deepstream. With GAITSTREAM_SHARED pointing at
# the golden vectors, bundles are exported from them too and compared with PyTorch. Meant to take a quarter of an
# hour; prints one table; exit code 1 when a line failed. Everything it writes is under out/verify-gpu.
#
#   --only PART  run one part: gpu, golden, engines, site, deepstream. `site` needs no GPU.
# shellcheck disable=SC2329 # `check` calls the functions
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
out=out/verify-gpu
biggait="" gaitheat="" only=""
while [ $# -gt 0 ]; do
    case $1 in
        --biggait) biggait=$(realpath "$2"); shift 2 ;;
        --gaitheat) gaitheat=$(realpath "$2"); shift 2 ;;
        --only) only=$2; shift 2 ;;
        *) echo "verify-gpu.sh: '$1' is unknown; use --biggait BUNDLE, --gaitheat BUNDLE, --only PART" >&2; exit 2 ;;
    esac
done
case $only in
    "" | gpu | golden | engines | site | deepstream) ;;
    *) echo "verify-gpu.sh: there is no part '$only': gpu, golden, engines, site, deepstream" >&2; exit 2 ;;
esac
mkdir -p "$out"
: >"$out/table.txt"
failed=0

# check NAME COMMAND...: run it, keep its output, note the verdict.
check() {
    local name=$1 started=$SECONDS verdict=pass log
    shift
    log="$out/$(echo "$name" | tr ' /' '--').log"
    echo "== $name: $*"
    "$@" >"$log" 2>&1
    local code=$?
    if [ $code -eq 77 ]; then
        verdict=skipped
    elif [ $code -ne 0 ]; then
        verdict=FAILED failed=1
        tail -n 15 "$log"
    fi
    printf '%-48s %-8s %5ss  %s\n' "$name" "$verdict" "$((SECONDS - started))" "$log" >>"$out/table.txt"
    return $code
}
gaitstream() { "$python" -m gaitstream "$@"; }

has_gpu() { nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader; }
device_tests() { "$python" -m pytest -q -rs tests/kernels/test_kernel_device.py; }
alignment_bench() { "$python" -m gaitstream bench pgha --device cuda --out "$out/pgha"; }
parser_library() { scripts/docker/build-parser.sh "$out/native" && nm -D "$out/native/libgaitstream_parser.so" | grep -q GaitstreamParseYolox; }

golden_bundles() {
    if [ -z "${GAITSTREAM_SHARED:-}" ]; then
        echo "no bundles given and GAITSTREAM_SHARED is not set"
        return 77
    fi
    "$python" - "$GAITSTREAM_SHARED/golden" "$out" <<'PY'
import importlib.util, json, sys
from pathlib import Path
import numpy as np, torch
golden, out = Path(sys.argv[1]), Path(sys.argv[2])
spec = importlib.util.spec_from_file_location("weights", golden / "weights.py")
weights = importlib.util.module_from_spec(spec)
spec.loader.exec_module(weights)
for model in ("biggait", "gaitheat"):
    state = weights.make_state_dict(json.loads((golden / f"{model}_spec.json").read_text()), 11)
    torch.save({"model": {k: torch.from_numpy(np.asarray(v)) for k, v in state.items()}}, out / f"{model}.pt")
PY
}
# The export compares PyTorch with every engine that runs here, TensorRT's among them, and fails where one departs.
export_golden() {
    gaitstream export "$1" --checkpoint "$out/$1.pt" --out "$out/bundle-$1" --overwrite --target deepstream "${@:2}" &&
        grep -q '"runtime": "tensorrt"' "$out/bundle-$1/parity.json"
}
build_half() { gaitstream build "$1" --runtime tensorrt --precision fp16; }

site() {
    rm -rf "$out/site"
    "$python" scripts/verify_site.py --out "$out/site" ${biggait:+--biggait "$biggait"} ${gaitheat:+--gaitheat "$gaitheat"}
}
run_front_end() {
    rm -rf "$out/site/journal" "$out/$1.journal"
    GAITSTREAM_NATIVE=${GAITSTREAM_NATIVE:-$PWD/$out/native} \
        timeout 600 "$python" -m gaitstream run --cameras "$out/site/cams.yaml" --frontend "$1" --no-table &&
        mv "$out/site/journal" "$out/$1.journal"
}
# compare RUN: with the native run and with the truth.
compare() { "$python" -m gaitstream.deepstream.compare "$out/site" "$out/native.journal" "$out/$1.journal"; }
has_deepstream() { "$python" -c 'from gaitstream.deepstream.api import load_service_maker; load_service_maker()'; }
documented_api() { "$python" - <<'PY'; }
import pyservicemaker
from gaitstream.deepstream import table
missing = [n for n in table.load()["api"]["import_names"] if not hasattr(pyservicemaker, n)]
print("names missing in pyservicemaker:", missing or "none")
raise SystemExit(bool({"Pipeline", "Probe", "BatchMetadataOperator", "DynamicSourceMessage"} & set(missing)))
PY
# Every property that can be emitted, as gst-inspect of the installed elements lists it.
installed_properties() { "$python" - <<'PY'; }
import subprocess
from gaitstream.deepstream import table
wrong = 0
for element, entry in table.load()["elements"].items():
    answer = subprocess.run(["gst-inspect-1.0", element], capture_output=True, text=True)
    if answer.returncode:
        print(f"{element}: not installed")
        wrong += 1
        continue
    listed = {line.split(":")[0].strip() for line in answer.stdout.splitlines() if ":" in line}
    gone = [name for name in entry["properties"] if name not in listed]
    if gone:
        print(f"{element}: not listed: {', '.join(gone)}")
print(f"{wrong} elements missing")
raise SystemExit(bool(wrong))
PY

# part NAME: whether it was asked for.
part() { [ -z "$only" ] || [ "$only" = "$1" ]; }

if part gpu; then
    check "GPU and driver" has_gpu || { cat "$out/table.txt"; echo "no GPU here: only --only site can be verified"; exit 1; }
    check "doctor" gaitstream doctor
    check "kernels on the device" device_tests
    check "kernel benchmark" alignment_bench
fi
if part golden && check "golden checkpoints" golden_bundles; then
    check "BigGait on TensorRT against PyTorch" export_golden biggait
    check "GaitHeat on TensorRT against PyTorch" export_golden gaitheat \
        --pose "${POSE:-$GAITSTREAM_SHARED/models/simplepose_nano_coco17.onnx}"
fi
if part engines; then
    for bundle in ${biggait:+"$biggait"} ${gaitheat:+"$gaitheat"} "$out"/bundle-*; do
        [ ! -d "$bundle" ] || check "half-precision engines of $(basename "$bundle")" build_half "$bundle"
    done
fi
if part site || part deepstream; then
    check "synthetic site" site && check "native front end" run_front_end native
fi
if part site; then
    check "graph for DeepStream" gaitstream deepstream render --cameras "$out/site/cams.yaml" --out "$out/graph"
    check "native front end against truth" compare native
    cat "$out/native-front-end-against-truth.log" 2>/dev/null
fi
if part deepstream && check "DeepStream's Python API" has_deepstream; then
    check "documented names" documented_api
    check "installed elements" installed_properties
    check "parser library" parser_library
    check "engines for nvinfer" env GAITSTREAM_NATIVE="${GAITSTREAM_NATIVE:-$PWD/$out/native}" \
        "$python" -m gaitstream deepstream build --cameras "$out/site/cams.yaml"
    check "DeepStream front end" run_front_end deepstream
    check "DeepStream against truth and native" compare deepstream
    cat "$out/DeepStream-against-truth-and-native.log" 2>/dev/null
fi
echo
cat "$out/table.txt"
exit $failed
