"""What the gait model can hope for: its teacher on true joints, and on those the pose model found.

    python training/evaluate_teacher.py --teacher runs/teacher.pt --rendered runs/held
    python training/evaluate_teacher.py --teacher runs/teacher.pt --rendered runs/held \
        --kinds formula learned --gait gaitstream/zoo/demo/gaitheat runs/gait/gait.pt

Between the two lie true joints with that part of each error that stays through a tracklet, and with the rest.
With `--gait` models are scored beside it, bundles and checkpoints, on what the pose model made of the people.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from train_gait import embed, score, seen_before
from train_teacher import load_teacher
from walks import KINDS, align_points

from gaitstream.cli.script import run_script
from gaitstream.models.gaitheat.checkpoint import load_module
from gaitstream.models.recognizer import Recognizer


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument(
        "--rendered", type=Path, required=True, help="of people not trained on, by render_gait.py"
    )
    parser.add_argument("--gait", type=Path, nargs="+", default=[], help="bundle or checkpoint")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=["formula"], help="of walk, taking turns"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    people = np.load(args.rendered / "people.npy")
    for name, embeddings in (*teacher_cases(args.teacher, args.rendered), *models(args.gait, args.rendered)):
        for number, kind in enumerate(args.kinds):
            some = people % len(args.kinds) == number
            figures = score(embeddings[some], people[some], seen_before(people[some]))
            print(f"{name}, {kind}", {key: round(value, 2) for key, value in figures.items()}, flush=True)


@torch.no_grad()
def teacher_cases(path: Path, rendered: Path) -> Iterator[tuple[str, np.ndarray]]:
    """What the teacher makes of joints with all, some and none of the pose model's errors."""
    teacher = load_teacher(path)
    true, found = (
        torch.from_numpy(np.load(rendered / f"{name}.npy")).float() for name in ("points", "found")
    )
    stays = (found - true).median(1, keepdim=True).values
    cases = {
        "true": true,
        "true + what stays of the errors": true + stays,
        "true + the rest of them": found - stays,
        "found": found,
    }
    for name, joints in cases.items():
        yield name, teacher.embed(teacher.pooled(align_points(joints)))[0].numpy()


def models(paths: list[Path], rendered: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Embeddings by gait models, `[n, parts, dim]`."""
    maps = np.load(rendered / "parts.npy").astype(np.float32) / 255
    for path in paths:
        if path.is_dir():
            model = Recognizer.load(path, "openvino", "fp32")
            yield str(path), np.stack([model.embed(one) for one in maps])
        else:
            yield str(path), embed(load_module(path), torch.from_numpy(maps))


if __name__ == "__main__":
    run_script(main)
