"""Put trained weights into the package: files, checksums, what the training was.

    python training/package_demo.py --runs runs

Takes `detector/detector.onnx`, `pose/pose.onnx` and the bundle `gait/bundle` of the folder, and the notes
on the training in its `training.json`. Run `scripts/evaluate_demo.py` afterwards.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from gaitstream.engines.cache import file_sha256
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
LIMIT_BYTES = 8 * 1024 * 1024


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True)
    args = parser.parse_args()
    DEMO.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(args.runs / "detector" / "detector.onnx", DEMO / "detector.onnx")
    shutil.copyfile(args.runs / "pose" / "pose.onnx", DEMO / "pose.onnx")
    (DEMO / "detector.json").write_text(json.dumps(DETECTOR, indent=2) + "\n")
    (DEMO / "pose.json").write_text(json.dumps(POSE, indent=2) + "\n")
    shutil.rmtree(DEMO / "gaitheat", ignore_errors=True)
    shutil.copytree(args.runs / "gait" / "bundle", DEMO / "gaitheat")
    shutil.copyfile(args.runs / "training.json", DEMO / "training.json")
    weights = [DEMO / name for name in ("detector.onnx", "detector.json", "pose.onnx", "pose.json")]
    weights += sorted(path for path in (DEMO / "gaitheat").rglob("*") if path.is_file())
    sums = {str(path.relative_to(DEMO)): file_sha256(path) for path in weights}
    (DEMO / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n")
    size = sum(path.stat().st_size for path in weights)
    print(f"{len(weights)} files, {size / 2**20:.2f} MiB")
    if size > LIMIT_BYTES:
        raise SystemExit(f"the demo weights take {size} bytes, the package allows {LIMIT_BYTES}")


if __name__ == "__main__":
    main()
