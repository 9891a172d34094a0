#!/usr/bin/env bash
# Proves on a GPU box what cannot be proved without one: scripts/verify-gpu.sh [--biggait BUNDLE] [--gaitheat BUNDLE]
#
#   docker build --target verify -t gaitstream:verify . && docker run --rm --gpus all gaitstream:verify
#
# The image `verify` is the GPU image with what tests it, and no source of the package beside: what is imported is what
# was built. A pass means that the GPU did it. Nothing falls back to the CPU, a check that could not run counts as
# failed, and so does a test that was skipped. The front ends are compared on a synthetic site with the bundles given, or
# with the packaged demo model. Bundles have to be trained, and exported with --target deepstream but for GaitHeat's.
# Meant to take less than a quarter of an hour, and says how long it took; with -v CACHE:/var/lib/gaitstream/cache the
# second time is shorter, for engines and the builder's timings are kept there. Prints one table; exit code 1 when a
# line failed. Everything it writes is under out/verify-gpu, which $OUT moves.
#
#   --only PART  run one part: gpu, parity, engines, site, deepstream. `site` needs no GPU.
# shellcheck disable=SC2329 # `check` calls the functions
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
out=${OUT:-out/verify-gpu}
limit_s=900
biggait="" gaitheat="" only=""
# named OPTION [DIR]: the directory; none is an error, for the demo's model would be checked in its place.
named() {
    [ -d "${2:-}" ] && realpath "$2" && return
    echo "verify-gpu.sh: $1 names a bundle's directory; '${2:-}' is none" >&2
    return 1
}
while [ $# -gt 0 ]; do
    case $1 in
        --biggait) biggait=$(named "$@") || exit 2; shift 2 ;;
        --gaitheat) gaitheat=$(named "$@") || exit 2; shift 2 ;;
        --only) only=${2:-nothing}; shift; shift ;;
        *) echo "verify-gpu.sh: '$1' is unknown; use --biggait BUNDLE, --gaitheat BUNDLE, --only PART" >&2; exit 2 ;;
    esac
done
case $only in
    "" | gpu | parity | engines | site | deepstream) ;;
    *) echo "verify-gpu.sh: there is no part '$only': gpu, parity, engines, site, deepstream" >&2; exit 2 ;;
esac
mkdir -p "$out"
: >"$out/table.txt"
failed=0
gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)

# check NAME WHERE COMMAND...: run it, keep its output, note the verdict and what it ran on.
check() {
    local name=$1 where=$2 started=$SECONDS verdict=pass log
    shift 2
    log="$out/$(echo "$name" | tr ' /' '--').log"
    echo "== $name: $*"
    "$@" >"$log" 2>&1
    local code=$?
    if [ $code -ne 0 ]; then
        verdict=FAILED failed=1
        tail -n 15 "$log"
    fi
    printf '%-46s %-7s %5ss  %-28s %s\n' "$name" "$verdict" "$((SECONDS - started))" "$where" "$log" >>"$out/table.txt"
    return $code
}
on_gpu=${gpu:-no GPU}
gaitstream() { "$python" -m gaitstream "$@"; }

# What is imported was built for GPUs: a checkout without its kernels compiled is not.
package() { "$python" - <<'PY'; }
import gaitstream
from gaitstream.kernels.build import prebuilt_gpu
print(gaitstream.__file__, prebuilt_gpu())
raise SystemExit(0 if prebuilt_gpu().is_file() else "no GPU kernels in the package: python -m gaitstream.kernels.build --gpu")
PY
# Every test of the files ran and passed; one that was skipped did not run.
strict_tests() {
    "$python" -m pytest -q -rs -p no:cacheprovider --junitxml="$out/tests.xml" "$@" && "$python" - "$out/tests.xml" <<'PY'
import sys
from xml.etree import ElementTree
(suite,) = ElementTree.parse(sys.argv[1]).getroot().iter("testsuite")
ran, skipped = int(suite.get("tests")), int(suite.get("skipped"))
print(f"{ran} tests, {skipped} of them skipped")
raise SystemExit(not ran or bool(skipped))
PY
}
device_tests() { strict_tests tests/kernels/test_kernel_device.py tests/engines/test_tensorrt_device.py; }
# The targets: 70% of the copy bandwidth, and eight times eager PyTorch, at 1,024 frames.
alignment_bench() {
    gaitstream bench pgha --device cuda --out "$out/pgha" && "$python" - "$out/pgha/report.json" <<'PY'
import json, sys
rows = [row for suite in json.load(open(sys.argv[1]))["suites"] for row in suite["rows"]]
rates = {row["contender"]: row for row in rows if row["setting"]["frames"] == 1024}
ours, eager = rates["gaitstream kernel, float32"], rates["PyTorch eager, float32"]
share = ours["figures"]["rate"]["median"] / ours["floor"]["rate"]
times = eager["figures"]["per frame"]["median"] / ours["figures"]["per frame"]["median"]
print(f"{share:.0%} of the copy bandwidth, {times:.1f} times eager PyTorch")
raise SystemExit(share < 0.7 or times < 8)
PY
}

# The export compares PyTorch with every engine that runs here, TensorRT's among them, and fails where one departs.
export_random() { "$python" - "$1" "$out/bundle-$1" <<'PY'; }
import dataclasses, shutil, sys
from pathlib import Path
from gaitstream.bench.recognizer import SEED
from gaitstream.export.api import ExportOptions, write_bundle
from gaitstream.export.parity import prove
from gaitstream.export.report import write_report
from gaitstream.models.bundle import Bundle
from gaitstream.models.resolve import resolve
from gaitstream.models.spec import find_family
model, root = sys.argv[1], Path(sys.argv[2])
shutil.rmtree(root, ignore_errors=True)
root.mkdir(parents=True)
trained = find_family(model).random(SEED)
if model == "gaitheat":  # its graph for nvinfer holds a pose model
    trained.options = dataclasses.replace(trained.options, pose=resolve("demo", "pose"))
manifest = write_bundle(trained, root, ExportOptions(version="random weights", deepstream=True))
write_report(prove(trained, Bundle(root, manifest), say=print), root)
import json
report = json.loads((root / "parity.json").read_text())
ran = {(row["precision"], row["output"]) for row in report["rows"] if row["runtime"] == "tensorrt"}
wanted = {(precision, output) for precision in ("fp32", "fp16") for output in ("embedding", "deepstream")}
for name, reason in report["skipped"].items():
    print(f"not compared: {name}: {reason}")
print("compared on TensorRT:", sorted(ran))
skipped = [name for name in report["skipped"] if name.startswith("tensorrt ")]
failed = [row["output"] for row in report["rows"] if row["verdict"] == "fail"]
raise SystemExit(bool(wanted - ran or skipped or failed))
PY
build_half() { gaitstream build "$1" --runtime tensorrt --precision fp16; }

site() {
    rm -rf "$out/site"
    "$python" scripts/verify_site.py --out "$out/site" --runtime "$runtime" ${biggait:+--biggait "$biggait"} ${gaitheat:+--gaitheat "$gaitheat"}
}
# run_front_end NAME [OPTION...]
run_front_end() {
    local name=$1
    shift
    rm -rf "$out/site/journal" "$out/$name.journal"
    timeout 600 "$python" -m gaitstream run --cameras "$out/site/cams.yaml" --frontend "$name" --no-table "$@" &&
        mv "$out/site/journal" "$out/$name.journal"
}
# on_device LOG: nothing went by way of the host, which costs the GPU most of its worth and is only said in the log.
on_device() { [ -f "$1" ] && ! grep "by way of the host" "$1"; }
# compare RUN: with the native run and with the truth.
compare() { "$python" -m gaitstream.deepstream.compare "$out/site" "$out/native.journal" "$out/$1.journal"; }
has_deepstream() { "$python" -c 'from gaitstream.deepstream.api import load_service_maker; load_service_maker()'; }
documented_api() { "$python" - <<'PY'; }
import importlib.util
import pyservicemaker
from gaitstream.deepstream import table
def is_there(name):  # a module of the package is an attribute of it only once somebody has imported it
    return hasattr(pyservicemaker, name) or importlib.util.find_spec(f"pyservicemaker.{name}")
missing = [n for n in table.load()["api"]["import_names"] if not is_there(n)]
print("names missing in pyservicemaker:", missing or "none")
raise SystemExit(bool(missing))
PY
# Every property that can be emitted, as gst-inspect of the installed elements lists it: DeepStream ignores others, and
# says nothing. The encoder is there where the GPU has one, and only --view needs it.
installed_properties() { "$python" - <<'PY'; }
import subprocess
from gaitstream.deepstream import table
wrong = 0
for element, entry in table.load()["elements"].items():
    answer = subprocess.run(["gst-inspect-1.0", element], capture_output=True, text=True)
    if answer.returncode:
        print(f"{element}: not installed")
        wrong += element != "nvv4l2h264enc"
        continue
    listed = {line.split(":")[0].strip() for line in answer.stdout.splitlines() if ":" in line}
    gone = [name for name in entry["properties"] if name not in listed]
    if gone:
        print(f"{element}: not listed: {', '.join(gone)}")
        wrong += len(gone)
print(f"{wrong} elements or properties missing")
raise SystemExit(bool(wrong))
PY

# part NAME: whether it was asked for.
part() { [ -z "$only" ] || [ "$only" = "$1" ]; }

if part gpu; then
    check "GPU, driver, TensorRT, kernels, plugin" "$on_gpu" gaitstream doctor --gpu ||
        { cat "$out/table.txt"; echo "no GPU that does all of it: only --only site can be verified"; exit 1; }
    check "package with GPU kernels" files package
    check "device tests, none skipped" "$on_gpu" device_tests
    check "kernel benchmark" "$on_gpu" alignment_bench
fi
if part parity; then
    check "BigGait on TensorRT against PyTorch" "$on_gpu" export_random biggait
    check "GaitHeat on TensorRT against PyTorch" "$on_gpu" export_random gaitheat
fi
if part engines; then
    for bundle in ${biggait:+"$biggait"} ${gaitheat:+"$gaitheat"} "$out"/bundle-*; do
        [ ! -d "$bundle" ] || check "half-precision engines of $(basename "$bundle")" "$on_gpu" build_half "$bundle"
    done
fi
if part site || part deepstream; then
    runtime=tensorrt
    [ "$only" != site ] || runtime=auto
    check "synthetic site" CPU site && check "native front end" "$runtime, ${gpu:-CPU}" run_front_end native
    [ "$runtime" != tensorrt ] || check "native front end stays on the GPU" log on_device "$out/native-front-end.log"
fi
if part site; then
    check "graph for DeepStream" files gaitstream deepstream render --cameras "$out/site/cams.yaml" --out "$out/graph"
    check "native front end against truth" journals compare native
    cat "$out/native-front-end-against-truth.log" 2>/dev/null
fi
if part deepstream && check "DeepStream's Python API" files has_deepstream; then
    check "documented names" files documented_api
    check "installed elements" GStreamer installed_properties
    check "engines for nvinfer" "$on_gpu" "$python" -m gaitstream deepstream build --cameras "$out/site/cams.yaml"
    check "DeepStream front end" "$on_gpu" run_front_end deepstream
    check "DeepStream against truth and native" journals compare deepstream
    cat "$out/DeepStream-against-truth-and-native.log" 2>/dev/null
fi
if [ -z "$only" ] && [ $SECONDS -gt $limit_s ]; then
    failed=1
    echo "it took $SECONDS s, more than $limit_s s" >>"$out/table.txt"
fi
if [ ! -s "$out/table.txt" ]; then
    failed=1
    echo "nothing was checked: --only engines needs bundles, of --biggait, --gaitheat or --only parity" >"$out/table.txt"
fi
echo
cat "$out/table.txt"
[ $failed -eq 0 ] && echo "everything passed in $SECONDS s${gpu:+ on $gpu}"
exit $failed
