"""What the gait model can hope for: its teacher on true joints, and on those the pose model found.

    python training/evaluate_teacher.py --teacher runs/teacher.pt --rendered runs/held

Between the two lie true joints with that part of each error that stays through a tracklet, and with the rest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from train_gait import score, seen_before
from train_teacher import load_teacher
from walks import align_points


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument(
        "--rendered", type=Path, required=True, help="of people not trained on, by render_gait.py"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    teacher = load_teacher(args.teacher)
    people = np.load(args.rendered / "people.npy")
    true, found = (
        torch.from_numpy(np.load(args.rendered / f"{name}.npy")).float() for name in ("points", "found")
    )
    stays = (found - true).median(1, keepdim=True).values
    cases = {
        "true": true,
        "true + what stays of the errors": true + stays,
        "true + the rest of them": found - stays,
        "found": found,
    }
    for name, joints in cases.items():
        with torch.no_grad():
            embeddings, _ = teacher.embed(teacher.pooled(align_points(joints)))
        figures = score(embeddings.numpy(), people, seen_before(people))
        print(name, {key: round(value, 2) for key, value in figures.items()})


if __name__ == "__main__":
    main()
