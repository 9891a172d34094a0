"""Put trained weights into the package: files, checksums, what the training was.

    python training/package_demo.py --runs runs
    python training/package_demo.py --int8

Takes `detector/detector.onnx`, `pose/pose.onnx`, `segmenter/segmenter.onnx` and the bundles `gait/bundle` and
`gaitbase/bundle` of the folder, as far as they are there; what is not stays as it is in the package. Notes on
the training are those of its `training.json`. `--int8` makes the eight-bit graphs of detector and pose model
anew, of what is in the package then. Run `scripts/evaluate_demo.py` afterwards.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from gaitstream.cli.script import run_script
from gaitstream.engines.cache import file_sha256
from gaitstream.export.networks import Kind, quantise_network
from gaitstream.zoo.registry import CHECKSUMS

DEMO = Path(__file__).resolve().parents[1] / "gaitstream" / "zoo" / "demo"
DETECTOR = {
    "graph": "detector.onnx", "layout": "yolov8", "fit": "top_left", "colour": "rgb", "scale": 1.0,
    "size": [192, 320], "precisions": ["bf16"], "licence": "Apache-2.0",
}  # fmt: skip
POSE = {
    "graph": "pose.onnx", "colour": "rgb", "scale": 1.0, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0],
    "precisions": ["bf16"], "licence": "Apache-2.0",
}  # fmt: skip
SEGMENTER = {
    "graph": "segmenter.onnx", "layout": "probability", "colour": "rgb", "scale": 1.0,
    "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "size": [128, 96], "licence": "Apache-2.0",
}  # fmt: skip
NETWORKS = {"detector": DETECTOR, "pose": POSE, "segmenter": SEGMENTER}
QUANTISED: tuple[Kind, ...] = ("detector", "pose")
BUNDLES = {"gaitheat": "gait", "gaitbase": "gaitbase"}
"""Where the bundle of each family lies in the folder."""
LIMIT_BYTES = 8_000_000


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, help="folder of trained weights")
    parser.add_argument("--int8", action="store_true", help="quantise detector and pose model")
    args = parser.parse_args()
    if args.runs:
        take(args.runs)
    if args.int8:
        for kind in QUANTISED:
            quantise(kind)
    seal()


def take(runs: Path) -> None:
    """Copy what a folder holds of networks, bundles and notes."""
    DEMO.mkdir(parents=True, exist_ok=True)
    for name, manifest in NETWORKS.items():
        graph = runs / name / f"{name}.onnx"
        if graph.is_file():
            shutil.copyfile(graph, DEMO / graph.name)
            (DEMO / f"{name}.int8.onnx").unlink(missing_ok=True)  # of the weights before
            (DEMO / f"{name}.json").write_text(json.dumps(manifest, indent=2) + "\n")
    for family, folder in BUNDLES.items():
        bundle = runs / folder / "bundle"
        if bundle.is_dir():
            shutil.rmtree(DEMO / family, ignore_errors=True)
            shutil.copytree(bundle, DEMO / family)
    notes = json.loads((DEMO / "training.json").read_text()) if (DEMO / "training.json").is_file() else {}
    notes |= json.loads((runs / "training.json").read_text())
    (DEMO / "training.json").write_text(json.dumps(notes, indent=2) + "\n")


def quantise(kind: Kind) -> None:
    """Put the int8 graph of a packaged network beside it, and in its manifest."""
    manifest = DEMO / f"{kind}.json"
    with tempfile.TemporaryDirectory() as folder:
        report = quantise_network(kind, manifest, Path(folder), "synth", print)
        print(*report.sentences(), sep="\n")
        made = json.loads((Path(folder) / manifest.name).read_text())
        shutil.copyfile(Path(folder) / made["int8"], DEMO / made["int8"])
    about = json.loads(manifest.read_text()) | {key: made[key] for key in ("precisions", "int8")}
    manifest.write_text(json.dumps(about, indent=2) + "\n")


def seal() -> None:
    """Write the checksums of all weights, and see that they are not too large together."""
    weights = [DEMO / f"{name}{suffix}" for name in NETWORKS for suffix in (".onnx", ".json")]
    weights += sorted(DEMO.glob("*.int8.onnx"))
    weights += sorted(path for one in BUNDLES for path in (DEMO / one).rglob("*") if path.is_file())
    sums = {str(path.relative_to(DEMO)): file_sha256(path) for path in weights}
    (DEMO / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n")
    size = sum(path.stat().st_size for path in weights)
    print(f"{len(weights)} files, {size / 2**20:.2f} MiB")
    if size > LIMIT_BYTES:
        raise SystemExit(f"the demo weights take {size} bytes, the package allows {LIMIT_BYTES}")


if __name__ == "__main__":
    run_script(main)
