"""Choose the reference vectors that the repository keeps, at most 4 MB, from the full set.

    python scripts/compact_golden.py ../shared/golden tests/data/golden

What is kept is enough to prove embeddings, foregrounds, alignment and protocols; maps that follow
from what is kept and intermediate results of further cases stay in the full set.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gaitstream.cli.script import run_script

KEPT = {
    "biggait_A": {
        "pad1": (
            "rgb ratios mask_prob edge_sum flipped foreground denoising_full appearance_full full_idx "
            "post_full embeddings seqL embeddings_seqL"
        ),
        "pad2": "rgb ratios edge_sum flipped foreground embeddings",
        "raw2": "rgb ratios edge_sum flipped foreground embeddings",
    },
    "gaitheat_A": {
        "m1": (
            "heat_raw keypoints angle_deg mat_identity mat_always is_identity seqL f32_always/aligned2 "
            "f32_always/part_embed_1 f32_always/global_embed_1 f32_always/fusion_embed_1 "
            "f32_always/fusion_embed_2 f32_always/fusion_embed_1_seqL f32_always/fusion_embed_2_seqL "
            "f32_identity/aligned2 f32_identity/fusion_embed_2 half_io_identity/aligned2"
        ),
        "m2": (
            "heat_raw keypoints angle_deg mat_identity mat_always is_identity f32_always/fusion_embed_2 "
            "f32_identity/fusion_embed_2 f32_always/aligned2 half_io_identity/aligned2"
        ),
        "c17": (
            "heat_raw keypoints angle_deg mat_identity mat_always is_identity f32_always/aligned2_f16 "
            "f32_always/fusion_embed_2"
        ),
    },
}
WHOLE = ("metrics_A",)
LIMIT_BYTES = 4_000_000


def main() -> None:
    """Write the files and say how large they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="folder of the full set")
    parser.add_argument("out", type=Path, help="folder of the compact set")
    args = parser.parse_args()
    total = 0
    for name in (*KEPT, *WHOLE):
        with np.load(args.source / f"{name}.npz") as full:
            wanted = full.files
            if name in KEPT:
                wanted = [f"{case}/{key}" for case, keys in KEPT[name].items() for key in keys.split()]
            np.savez_compressed(args.out / f"{name}.npz", **{key: full[key] for key in wanted})
        size = (args.out / f"{name}.npz").stat().st_size
        total += size
        print(f"{name}: {len(wanted)} arrays, {size / 1e6:.2f} MB")
    print(f"together {total / 1e6:.2f} MB of at most {LIMIT_BYTES / 1e6:.0f} MB")
    if total > LIMIT_BYTES:
        raise SystemExit("too much: keep less")


if __name__ == "__main__":
    run_script(main)
