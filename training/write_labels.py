"""Turn rendered walks into the labelled inputs that `gaitstream export --calibration` judges precisions by.

python training/write_labels.py --rendered runs/held --out runs/labels.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gaitstream.cli.script import run_script


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rendered", type=Path, required=True, help="of people not trained on, by render_gait.py"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    parts = np.load(args.rendered / "parts.npy")
    passes, frames = parts.shape[:2]
    np.savez(
        args.out,
        parts=parts.reshape(-1, *parts.shape[2:]).astype(np.float32) / 255,
        sequence=np.repeat(np.arange(passes), frames),
        label=np.repeat(np.load(args.rendered / "people.npy"), frames),
    )


if __name__ == "__main__":
    run_script(main)
